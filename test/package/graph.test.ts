import { readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Metafile } from 'esbuild'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { peers, type Subpath, subpaths } from './packed.ts'

const { furnished, metafile } = inject('packed')
const installed = 'node_modules/millrace/'

/** Which subpaths may load a package; what is not listed nobody may load, at the top or later. */
const mayLoad: Readonly<Record<string, readonly string[]>> = {
  'lru-cache': ['millrace', 'millrace/cache'],
  'p-limit': subpaths.map(({ specifier }) => specifier),
  kysely: ['millrace/kysely'],
}

describe('the import graph of what is built', () => {
  let sources: Record<string, readonly string[]> = {}
  const graphs = new Map<string, Graph>()

  beforeAll(async () => {
    const { outputs } = JSON.parse(await readFile(metafile, 'utf8')) as Metafile
    sources = Object.fromEntries(
      Object.entries(outputs).map(([file, { inputs }]) => [`${installed}${file}`, Object.keys(inputs)]),
    )
    for (const subpath of subpaths) graphs.set(subpath.specifier, await walk(subpath))
  })

  const graphOf = ({ specifier }: Subpath): Graph => {
    const graph = graphs.get(specifier)
    if (graph === undefined) throw new Error(`${specifier} was not walked`)
    return graph
  }

  test('is the graph of the build whose metafile says what came from where', () => {
    const reached = [...graphs.values()].flatMap(({ files }) => files)
    expect([...new Set(reached)].sort()).toEqual(Object.keys(sources).sort())
  })

  test('holds no code but our own', () => {
    expect(
      Object.values(sources)
        .flat()
        .filter((source) => !source.startsWith('src/')),
    ).toEqual([])
  })

  for (const subpath of subpaths) {
    const { specifier } = subpath

    if (specifier !== manifest.name) {
      test(`${specifier} alone reaches core and itself, and nothing of another primitive`, () => {
        const own = [`${specifier.replace(manifest.name, 'src')}/`, 'src/core/']
        const reached = graphOf(subpath).files.flatMap((file) => sources[file] ?? [])
        expect(reached.length).toBeGreaterThan(0)
        expect(reached.filter((source) => !own.some((folder) => source.startsWith(folder)))).toEqual([])
      })
    }

    test(`${specifier} loads only the packages that are its own`, () => {
      const packages = graphOf(subpath).externals.filter((name) => !isBuiltin(name))
      expect(packages.filter((name) => !mayLoad[name]?.includes(specifier))).toEqual([])
    })

    test(`${specifier} names the modules of Node with their node: prefix, which other runtimes need`, () => {
      expect(graphOf(subpath).externals.filter((name) => builtinModules.includes(name))).toEqual([])
    })
  }

  afterAll(async () => {
    const rows = await Promise.all(
      subpaths.map(async ({ specifier, file }) => [
        specifier,
        {
          ...columns('alone', await sizeOf(file, { packages: 'external' })),
          ...columns('with its packages', await sizeOf(file, {})),
        },
      ]),
    )
    console.table(Object.fromEntries(rows))
  })
})

/** What importing a subpath loads. */
interface Graph {
  /** Files of ours, relative to the project. */
  readonly files: readonly string[]
  /** Packages and builtins, by static and by dynamic import, and by require. */
  readonly externals: readonly string[]
}

function isBuiltin(name: string): boolean {
  return name.startsWith('node:') || builtinModules.includes(name)
}

/** Minified, and compressed as a server would. */
async function sizeOf(file: string, options: Options) {
  const { outputFiles } = await bundle(file, options)
  const code = outputFiles[0]?.contents ?? new Uint8Array()
  return { min: code.length, gzip: gzipSync(code, { level: 9 }).length }
}

function columns(title: string, { min, gzip }: { min: number; gzip: number }): Record<string, string> {
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`
  return { [`${title}, min`]: kilobytes(min), [`${title}, min+gzip`]: kilobytes(gzip) }
}

/** All that Node would load: what has no side effects, too. */
async function walk({ file }: Subpath): Promise<Graph> {
  const { metafile } = await bundle(file, {
    packages: 'external',
    ignoreAnnotations: true,
    treeShaking: false,
  })
  const externals = Object.values(metafile.inputs).flatMap(({ imports }) =>
    imports.flatMap(({ path, external }) => (external === true ? [path] : [])),
  )
  return { files: Object.keys(metafile.inputs), externals: [...new Set(externals)] }
}

interface Options {
  readonly packages?: 'external'
  readonly ignoreAnnotations?: boolean
  readonly treeShaking?: boolean
}

/** A subpath in one file; builtins and optional peers stay outside. */
async function bundle(file: string, options: Options) {
  return build({
    ...options,
    entryPoints: [join(installed, file)],
    absWorkingDir: furnished,
    bundle: true,
    write: false,
    outdir: 'out',
    minify: true,
    metafile: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'silent',
    external: [...peers],
  })
}
