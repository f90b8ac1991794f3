/**
 * The guard: what it costs a statement, on a stub and by itself, and what its cap on rows saves.
 *
 * npm run bench -- guard [--json] [--quick] [--only <table>,...]
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../examples/shared/postgres.ts'
import { runProgram, UsageError } from '../examples/shared/program.ts'
import { formatTable, type Row, statusLine } from '../examples/shared/terminal.ts'
import { capped, sorted } from './guard/cap.ts'
import { hooks, onStub } from './guard/overhead.ts'
import type { Run, Table } from './seam/run.ts'
import { machine } from './shared/machine.ts'

const sections: Readonly<Record<string, (run: Run) => Promise<Table[]>>> = {
  hooks,
  stub: onStub,
  cap: capped,
  sorted,
}

await runProgram(async (scope) => {
  const options = optionsOf(process.argv.slice(2))
  const chosen = options.only?.split(',') ?? Object.keys(sections)
  const unknown = chosen.find((id) => sections[id] === undefined)
  if (unknown !== undefined) {
    throw new UsageError(`--only: there is no table "${unknown}", only ${Object.keys(sections).join(', ')}`)
  }
  const line = statusLine()
  const on = machine()
  const postgres = await scope.use(
    () => startPostgres(),
    (server) => server.stop(),
  )
  const run: Run = {
    url: postgres.url,
    quick: options.quick === true,
    show(text) {
      scope.signal.throwIfAborted()
      line.show(text)
    },
  }
  if (options.json !== true) {
    console.log(`Node ${on.node}, ${on.platform}, ${on.cores} x ${on.cpu}, ${on.memoryGb} GB`)
    if (run.quick) console.log('--quick: few rounds, the figures are rough')
  }
  const tables: Table[] = []
  for (const id of chosen) {
    const made = (await sections[id]?.(run)) ?? []
    line.clear()
    tables.push(...made)
    if (options.json === true) continue
    for (const { title, columns, rows } of made)
      console.log(`\n${title}\n\n${formatTable(columns, rows as Row[])}`)
  }
  if (options.json === true)
    console.log(JSON.stringify({ machine: on, quick: run.quick, tables }, undefined, 2))
})

function optionsOf(args: string[]) {
  try {
    return parseArgs({
      args,
      options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, only: { type: 'string' } },
    }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; there are --json, --quick and --only <table>,...`)
  }
}
