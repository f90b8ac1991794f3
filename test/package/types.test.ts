import { copyFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import {
  bareSubpaths,
  install,
  oldestNode,
  peerPackages,
  root,
  run,
  type Subpath,
  subpaths,
} from './packed.ts'

const { folder, tarball } = inject('packed')
const consumer = join(root, 'test/package/consumer')

const strangers = [
  {
    name: 'TypeScript 5.9 with legacy decorators and the types of the oldest Node',
    packages: ['typescript@~5.9.0', `@types/node@~${oldestNode}`],
    options: { lib: ['es2022'], experimentalDecorators: true },
  },
  {
    name: 'the newest TypeScript, with all that it can be strict about',
    packages: ['typescript@latest', '@types/node@latest'],
    options: {
      exactOptionalPropertyTypes: true,
      noPropertyAccessFromIndexSignature: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
      isolatedModules: true,
    },
  },
]

const resolutions = [
  { module: 'nodenext', moduleResolution: 'nodenext' },
  { module: 'esnext', moduleResolution: 'bundler' },
]

for (const [index, { name, packages, options }] of strangers.entries()) {
  const project = join(folder, `types-${index}`)

  const checksAll = (offered: readonly Subpath[]) => {
    for (const resolution of resolutions) {
      test(`checks every subpath under ${resolution.moduleResolution} resolution`, async () => {
        expect(await check(project, offered, { ...options, ...resolution })).toBe('')
      })
    }
  }

  describe(`${name}, without the optional peers`, () => {
    beforeAll(() => install(project, [tarball, ...packages]))

    checksAll(bareSubpaths)

    test('sees a misuse', async () => {
      const misuse = `import { nothing } from '${manifest.name}'\nnothing()\n`
      expect(await check(project, [], { ...options, ...resolutions[0] }, misuse)).toContain('TS2305')
    })
  })

  if (peerPackages.length > 0) {
    describe(`${name}, with the optional peers`, () => {
      beforeAll(() => install(project, peerPackages))

      checksAll(subpaths)
    })
  }
}

/** What the compiler says of all subpaths and of the consumers' code, declarations of libraries included. */
async function check(
  project: string,
  offered: readonly Subpath[],
  options: Readonly<Record<string, unknown>>,
  code = '',
): Promise<string> {
  const copied = await readdir(consumer)
  for (const file of copied) await copyFile(join(consumer, file), join(project, file))
  const named = offered.map(({ specifier }, index) => ({ specifier, name: `subpath${index}` }))
  const imports = named.map(({ specifier, name }) => `import * as ${name} from '${specifier}'`)
  const requires = named.map(({ specifier, name }) => `import ${name} = require('${specifier}')`)
  const all = `{ ${named.map(({ name }) => name).join(', ')} }`
  await writeFile(join(project, 'imports.mts'), [...imports, `export const all = ${all}`, code].join('\n'))
  await writeFile(join(project, 'requires.cts'), [...requires, `export = ${all}`].join('\n'))
  const files = [...copied, 'imports.mts', ...(options.module === 'nodenext' ? ['requires.cts'] : [])]
  const compilerOptions = {
    target: 'es2022',
    types: ['node'],
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    ...options,
  }
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const compiler = join(project, 'node_modules/typescript/bin/tsc')
  const { code: ended, stdout, stderr } = await run(process.execPath, [compiler, '-p', project])
  return ended === 0 ? stdout + stderr : `tsc ended with ${ended}: ${stdout}${stderr}`
}
