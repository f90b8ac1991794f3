import { defineConfig } from 'tsup'
import manifest from './package.json' with { type: 'json' }

/** The subpaths of package.json are the entries: `./dist/cache/index.js` is built from `src/cache/index.ts`. */
const entry = Object.values(manifest.exports).flatMap((target) =>
  typeof target === 'string' ? [] : [target.default.replace(/^\.\/dist\/(.+)\.js$/, 'src/$1.ts')],
)

/**
 * What the entries share becomes chunks, so that a class is the same from every subpath. There are no source
 * maps: what is built reads as it was written, and the maps would be two thirds of the tarball. The metafile,
 * which is not packed, tells the package tests which sources went where.
 */
export default defineConfig({
  entry,
  format: 'esm',
  target: 'node20',
  platform: 'node',
  removeNodeProtocol: false,
  dts: true,
  splitting: true,
  treeshake: true,
  metafile: true,
  clean: true,
})
