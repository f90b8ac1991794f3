import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, inject, test } from 'vitest'
import { bareSubpaths, type Outcome, run, type Subpath, subpaths } from './packed.ts'

/** What the packed package has to do on one version of Node. */
export function describeRuntime(title: string, node: () => Promise<string> | string): void {
  const { bare, furnished } = inject('packed')

  const evaluate = async (kind: 'module' | 'commonjs', project: string, code: string, ...args: string[]) =>
    run(await node(), [`--input-type=${kind}`, '--eval', code, ...args], { cwd: project, timeoutMs: 20_000 })

  describe(title, () => {
    for (const { who, project, offered } of [
      { who: 'a stranger without the optional peers', project: bare, offered: bareSubpaths },
      { who: 'a stranger with all of them', project: furnished, offered: subpaths },
    ]) {
      test(`gives ${who} the names that the types promise, by import and by require alike`, async () => {
        const specifiers = offered.map(({ specifier }) => specifier)
        const promised = clean(JSON.stringify(promisedNames(project, offered)))
        expect(await evaluate('module', project, importNames, ...specifiers)).toEqual(promised)
        expect(await evaluate('commonjs', project, requireNames, ...specifiers)).toEqual(promised)
      })
    }

    test('has no default export', () => {
      expect(Object.values(promisedNames(furnished, subpaths)).flat()).not.toContain('default')
    })

    test('has one value for a name, from every subpath, by import and by require', async () => {
      const specifiers = subpaths.map(({ specifier }) => specifier)
      expect(await evaluate('module', furnished, namesWithSeveralValues, ...specifiers)).toEqual(clean('[]'))
    })

    for (const { specifier } of subpaths) {
      test(`${specifier} does nothing when it is imported`, async () => {
        expect(await evaluate('module', furnished, importTraces, specifier)).toEqual(clean('[]'))
      })
    }

    test('serves a cached query, and lets the process end', async () => {
      expect(await evaluate('module', bare, cachedQueryCall)).toEqual(clean('[42,42,42,42] by 2 loads'))
    })
  })
}

/** An end without complaint. */
function clean(stdout: string): Outcome {
  return { code: 0, stdout: `${stdout}\n`, stderr: '' }
}

const promises = new Map<string, Record<string, string[]>>()

/** The values, not the types, that each subpath's declarations export. */
function promisedNames(project: string, offered: readonly Subpath[]): Record<string, string[]> {
  const known = promises.get(project)
  if (known !== undefined) return known
  const names: Record<string, string[]> = {}
  const files = offered.map(({ file }) =>
    join(project, 'node_modules/millrace', file.replace(/\.js$/, '.d.ts')),
  )
  const program = ts.createProgram(files, {
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
  })
  const checker = program.getTypeChecker()
  for (const [index, { specifier }] of offered.entries()) {
    const source = program.getSourceFile(files[index] ?? '')
    const module = source && checker.getSymbolAtLocation(source)
    if (module === undefined) throw new Error(`${specifier}: ${files[index]} is no module`)
    const values = checker.getExportsOfModule(module).filter((symbol) => {
      const meant = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      return meant.flags & ts.SymbolFlags.Value
    })
    names[specifier] = values.map(({ name }) => name).sort()
  }
  promises.set(project, names)
  return names
}

const importNames = `
const names = {}
for (const specifier of process.argv.slice(1)) names[specifier] = Object.keys(await import(specifier)).sort()
console.log(JSON.stringify(names))`

const requireNames = `
const names = {}
for (const specifier of process.argv.slice(1)) names[specifier] = Object.keys(require(specifier)).sort()
console.log(JSON.stringify(names))`

const namesWithSeveralValues = `
import { createRequire } from 'node:module'
const require = createRequire(process.cwd() + '/index.js')
const values = new Map()
for (const specifier of process.argv.slice(1)) {
  for (const exports of [await import(specifier), require(specifier)]) {
    for (const [name, value] of Object.entries(exports)) {
      values.set(name, (values.get(name) ?? new Set()).add(value))
    }
  }
}
console.log(JSON.stringify([...values].filter(([, all]) => all.size > 1).map(([name]) => name)))`

/** What is there after an import and was not before: globals, members of builtins, listeners, timers and handles. */
const importTraces = `
import { createHook } from 'node:async_hooks'
const builtins = { Array, Date, Error, Function, Map, Number, Object, Promise, Set, String, Symbol }
const seen = () => [
  ...Reflect.ownKeys(globalThis).map((key) => 'global ' + String(key)),
  ...Object.entries(builtins).flatMap(([name, builtin]) => [
    ...Reflect.ownKeys(builtin).map((key) => name + '.' + String(key)),
    ...Reflect.ownKeys(builtin.prototype).map((key) => name + '.prototype.' + String(key)),
  ]),
  ...process.eventNames().map((event) => 'listener of ' + String(event)),
  ...Object.keys(process.env).map((name) => 'variable ' + name),
]
const made = new Set()
const loading = /^(PROMISE|FSREQ.*|FILEHANDLE.*|TickObject|Microtask|RANDOMBYTESREQUEST)$/
const hook = createHook({ init: (_id, type) => { if (!loading.test(type)) made.add(type) } })
void [process.stdout, process.stderr] // made when first asked for, by a module of Node itself, too
const before = new Set(seen())
hook.enable()
await import(process.argv[1])
hook.disable()
console.log(JSON.stringify([...made, ...seen().filter((trace) => !before.has(trace))]))`

const cachedQueryCall = `
import { cachedQuery } from 'millrace/cache'
let loads = 0
const answer = cachedQuery({ ttlMs: 60_000 })(async (half) => { loads++; return { value: half * 2 } })
const rows = [...(await Promise.all([answer(21), answer(21)])), await answer(21)]
answer.invalidate(21)
rows.push(await answer(21))
console.log(JSON.stringify(rows.map(({ value }) => value)), 'by', loads, 'loads')`
