/**
 * The bulk upsert against its peers, and against the limit of COPY: rows a second, CPU and memory, by rows a call.
 *
 * npm run bench -- bulk [--json] [--quick] [--write] [--only <workload>,...] [--rows <count>,...] [--ways <part of a name>,...]:
 * --write puts the tables into docs/benchmarks.md.
 */
import { parseArgs } from 'node:util'
import { startPostgres } from '../examples/shared/postgres.ts'
import { runProgram, UsageError } from '../examples/shared/program.ts'
import { statusLine } from '../examples/shared/terminal.ts'
import { entries } from './bulk/contenders.ts'
import { measure, type Run } from './bulk/run.ts'
import { tablesOf } from './bulk/tables.ts'
import { workloads } from './bulk/workload.ts'
import { writeBlocks } from './shared/docs.ts'
import { type Machine, machine } from './shared/machine.ts'

const counts = [1, 10, 245, 1_500, 10_000, 100_000, 1_000_000]
const quickCounts = counts.slice(0, -1)
const page = new URL('../docs/benchmarks.md', import.meta.url)

await runProgram(async (scope) => {
  const options = optionsOf(process.argv.slice(2))
  const { quick = false } = options
  if (quick && options.write === true)
    throw new UsageError('--write: the figures of --quick are too rough to be written down')
  const line = statusLine()
  const postgres = await scope.use(
    // What the server does by itself now and then would meet one contender and not another.
    () => startPostgres({ settings: { max_wal_size: '8GB', checkpoint_timeout: '1h', autovacuum: 'off' } }),
    (server) => server.stop(),
  )
  const run: Run = {
    url: postgres.url,
    quick,
    signal: scope.signal,
    counts: options.rows ?? (quick ? quickCounts : counts),
    entries: entries.filter(({ name }) => options.ways?.some((way) => name.includes(way)) ?? true),
    show: (text) => line.show(text),
    failures: [],
  }
  const on = machine()
  if (options.json !== true) console.log(headOf(on))
  const measured: Record<string, unknown> = {}
  for (const name of options.only ?? Object.keys(workloads)) {
    const failuresBefore = run.failures.length
    const figures = await measure(run, name)
    line.clear()
    measured[name] = figures
    const tables = tablesOf(name, run, figures)
    if (options.write === true && run.failures.length === failuresBefore) {
      const blocks = tables.map(({ id, text }): [string, string] => [
        `bulk ${id}`,
        `${headOf(on)}\n\n${text}`,
      ])
      writeBlocks(page, new Map(blocks))
    }
    if (options.json !== true) for (const { text } of tables) console.log(`\n${text}`)
  }
  if (options.json === true) console.log(JSON.stringify({ machine: on, quick, measured }, undefined, 2))
  if (run.failures.length > 0)
    throw new UsageError(
      `not all was measured, and no table with a gap was written: ${run.failures.join('; ')}`,
    )
})

function optionsOf(args: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  try {
    const { values } = parseArgs({
      args,
      options: { json: flag, quick: flag, write: flag, only: text, rows: text, ways: text },
    })
    const { only, rows, ways, ...flags } = values
    return { ...flags, only: listOf(only), rows: listOf(rows)?.map(Number), ways: listOf(ways) }
  } catch (error) {
    throw new UsageError(
      `${(error as Error).message}; there are --json, --quick, --write, --only, --rows and --ways`,
    )
  }
}

function listOf(text: string | undefined): string[] | undefined {
  return text?.split(',')
}

/** What a table's figures are to be read against. */
function headOf({ node, v8, platform, cpu, cores, memoryGb }: Machine): string {
  return `Node ${node} (V8 ${v8}), ${platform}, ${cores} x ${cpu}, ${memoryGb} GB`
}
