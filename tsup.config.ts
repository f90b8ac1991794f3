import { defineConfig } from 'tsup'

/** One entry a subpath; what they share becomes chunks, so that a class is the same from every subpath. */
export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'breaker/index': 'src/breaker/index.ts',
    'cache/index': 'src/cache/index.ts',
  },
  format: 'esm',
  target: 'node20',
  platform: 'node',
  dts: true,
  splitting: true,
  treeshake: true,
  sourcemap: true,
  clean: true,
})
