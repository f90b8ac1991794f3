import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, inject, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { mustRun, peers, root, run, subpaths } from './packed.ts'

const { tarball, bare } = inject('packed')
const tool = (name: string) => join(root, 'node_modules/.bin', name)

describe('the tarball', () => {
  let files: string[] = []

  beforeAll(async () => {
    const listing = await mustRun('tar', ['-tzf', tarball])
    files = listing.split('\n').flatMap((line) => (line === '' ? [] : [line.replace(/^package\//, '')]))
  })

  test('holds what is built and what is to be read, and no more', () => {
    expect(files.filter((file) => !file.startsWith('dist/')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'package.json',
    ])
    expect(files.filter((file) => file.startsWith('dist/') && !/\.(js|d\.ts)$/.test(file))).toEqual([])
  })

  test('holds the code and the types of every subpath', () => {
    const expected = subpaths.flatMap(({ file }) => [file, file.replace(/\.js$/, '.d.ts')])
    expect(files).toEqual(expect.arrayContaining(expected.map((file) => file.replace('./', ''))))
  })

  test('points to no source map, for it holds none', async () => {
    const texts = await Promise.all(
      files.map((file) => readFile(join(bare, 'node_modules/millrace', file), 'utf8')),
    )
    expect(files.filter((_, index) => texts[index]?.includes('sourceMappingURL='))).toEqual([])
  })

  test('brings its dependencies and none of its optional peers', async () => {
    const tree = JSON.parse(await mustRun('npm', ['ls', '--all', '--json'], { cwd: bare })) as Tree
    const installed = installedIn(tree)
    expect(installed).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)))
    expect(installed.filter((name) => peers.includes(name))).toEqual([])
  })

  test('is clean by publint', async () => {
    expect(await run(tool('publint'), ['run', tarball, '--strict'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('All good!'),
    })
  })

  test('has right types by attw, for a package that is ESM only', async () => {
    const { code, stdout } = await run(tool('attw'), [
      ...[tarball, '--profile', 'esm-only', '--no-definitely-typed', '--no-emoji', '--no-color'],
    ])
    expect(code, stdout).toBe(0)
  })
})

/** What npm ls says of a package; one that is missing has no version. */
interface Tree {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, Tree>>
}

function installedIn({ dependencies = {} }: Tree): string[] {
  return Object.entries(dependencies).flatMap(([name, tree]) => [
    ...(tree.version === undefined ? [] : [name]),
    ...installedIn(tree),
  ])
}
