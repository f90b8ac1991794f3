import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import manifest from '../../package.json' with { type: 'json' }

/** The repository's own folder. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** The oldest Node that package.json promises, such as `20.19`. */
export const oldestNode = manifest.engines.node.replace(/^>=/, '')

/** The packed tarball, and where it was installed as a stranger installs it. */
export interface Packed {
  /** A temporary folder for whatever a test needs; removed with all that is in it when the run ends. */
  readonly folder: string
  readonly tarball: string
  /** The metafile of the build that was packed: which sources went into which file of `dist`. */
  readonly metafile: string
  /** An empty project with millrace and nothing else. */
  readonly bare: string
  /** The same with every optional peer. */
  readonly furnished: string
}

/** A subpath of package.json `exports`, such as `millrace/cache`, and the optional peer that it is named after. */
export interface Subpath {
  readonly specifier: string
  /** The file that it means, in the package. */
  readonly file: string
  readonly peer: string | undefined
}

/** The names of the optional peers. */
export const peers: readonly string[] = Object.keys(
  'peerDependencies' in manifest ? (manifest.peerDependencies as object) : {},
)

/** The optional peers and their types, in the versions that this repository is tested with. */
export const peerPackages: readonly string[] = Object.entries(manifest.devDependencies).flatMap(
  ([name, range]) => (peers.includes(name.replace('@types/', '')) ? [`${name}@${range}`] : []),
)

/** The subpaths that are code. */
export const subpaths: readonly Subpath[] = Object.entries(manifest.exports).flatMap(([key, target]) => {
  if (typeof target === 'string') return []
  const name = key.slice('./'.length)
  return [
    {
      specifier: name === '' ? manifest.name : `${manifest.name}/${name}`,
      file: target.default,
      peer: peers.includes(name) ? name : undefined,
    },
  ]
})

/** What a stranger without the optional peers can import. */
export const bareSubpaths = subpaths.filter(({ peer }) => peer === undefined)

/** Builds and packs the checkout, and installs the tarball; all of it is in a new temporary folder. */
export async function pack(): Promise<Packed> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-package-'))
  try {
    return await packInto(folder)
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

async function packInto(folder: string): Promise<Packed> {
  await mustRun('npm', ['pack', '--pack-destination', folder], { cwd: root })
  const name = (await readdir(folder)).find((file) => file.endsWith('.tgz'))
  if (name === undefined) throw new Error(`npm pack left no tarball in ${folder}`)
  const tarball = join(folder, name)
  const metafile = join(folder, 'metafile.json')
  await copyFile(join(root, 'dist/metafile-esm.json'), metafile)
  const bare = await install(join(folder, 'bare'), [tarball])
  const furnished =
    peers.length === 0 ? bare : await install(join(folder, 'furnished'), [tarball, ...peerPackages])
  return { folder, tarball, metafile, bare, furnished }
}

/** Installs packages into a project, which is made, empty, when it is not there. */
export async function install(project: string, packages: readonly string[]): Promise<string> {
  await mkdir(project, { recursive: true })
  const file = join(project, 'package.json')
  const known = await readFile(file, 'utf8').catch(() => undefined)
  if (known === undefined) await writeFile(file, JSON.stringify({ name: 'stranger', private: true }))
  await mustRun('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...packages], {
    cwd: project,
  })
  return project
}

/** How a program ended. */
export interface Outcome {
  readonly code: number | string | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, which it must reach by itself in `timeoutMs` (two minutes). */
export function run(
  program: string,
  args: readonly string[],
  { cwd = root, timeoutMs = 120_000 }: { cwd?: string; timeoutMs?: number } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, NODE_OPTIONS: '', FORCE_COLOR: '0' }
    const child = execFile(
      program,
      args,
      { cwd, env, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.killed ? `still running after ${timeoutMs} ms` : error.code
        resolve({ code: code ?? null, stdout, stderr })
      },
    )
    child.stdin?.end()
  })
}

/** Runs a program that has to succeed. */
export async function mustRun(
  program: string,
  args: readonly string[],
  { cwd = root }: { cwd?: string } = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, { cwd, timeoutMs: 200_000 })
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}:\n${stdout}\n${stderr}`)
  return stdout
}
