/**
 * The circuit breaker against its peers: what a call and a refusal cost, and how much memory it takes.
 *
 * npm run bench -- breaker [--json] [--quick]
 */
import { parseArgs } from 'node:util'
import { runProgram, UsageError } from '../examples/shared/program.ts'
import { formatTable, type Row, statusLine } from '../examples/shared/terminal.ts'
import { contenders } from './breaker/contenders.ts'
import type { Extra, Job } from './breaker/worker.ts'
import { runTask } from './shared/child.ts'
import { machine } from './shared/machine.ts'
import { versionOf } from './shared/peers.mjs'

const ns = (value: number | undefined) => (value === undefined ? '' : `${Math.round(value)} ns`)

const tables = {
  times: {
    title: 'a call, over a bare await',
    rowOf: ({ limit, closed, timeout, signal, controller }: Extra): Row => ({
      'bare await': ns(limit),
      closed: ns(closed),
      'with a timeout': ns(timeout),
      'signal asked for': ns(signal),
      'a bare AbortController': ns(controller),
    }),
  },
  refusals: {
    title: 'a refusal, over a `throw new Error` from the same depth',
    rowOf: ({ limit, refused, frames }: Extra): Row => ({
      'bare throw': ns(limit),
      refused: ns(refused),
      'frames of its stack': String(frames),
    }),
  },
  memory: {
    title: 'memory',
    rowOf: ({ bytes, growth }: Extra): Row => ({
      'a breaker': `${Math.round(bytes ?? Number.NaN)} B`,
      'growth in 500,000 calls': `${Math.round((growth ?? Number.NaN) / 1_000)} KB`,
    }),
  },
} as const

await runProgram(async (scope) => {
  const { json, quick } = optionsOf(process.argv.slice(2))
  const options = quick
    ? { rounds: 5, roundMs: 20, warmUpMs: 100 }
    : { rounds: 31, roundMs: 50, warmUpMs: 500 }
  const line = statusLine()
  const on = machine()
  if (!json) {
    console.log(`Node ${on.node} (V8 ${on.v8}), ${on.platform}, ${on.cores} x ${on.cpu}, ${on.memoryGb} GB`)
    if (quick) console.log('--quick: few rounds, the figures are rough')
  }
  const measured: Record<string, Record<string, Extra>> = {}
  for (const table of Object.keys(tables) as Job['table'][]) {
    const { title, rowOf } = tables[table]
    const rows: Row[] = []
    const results: Record<string, Extra> = {}
    for (const contender of Object.keys(contenders)) {
      line.show(`${table}: ${contender}`)
      const job: Job = { contender, table, options }
      const extra = await runTask<Extra>({
        module: new URL('./breaker/worker.ts', import.meta.url),
        message: job,
        timeoutMs: 120_000,
        signal: scope.signal,
      })
      results[contender] = extra
      rows.push({ breaker: `${contender} ${versionOf(contender) ?? ''}`.trim(), ...rowOf(extra) })
    }
    measured[table] = results
    line.clear()
    if (!json) console.log(`\n${title}\n\n${formatTable(Object.keys(rows[0] ?? {}), rows)}`)
  }
  if (json) console.log(JSON.stringify({ machine: on, quick, tables: measured }, undefined, 2))
})

function optionsOf(args: string[]) {
  try {
    const { values } = parseArgs({ args, options: { json: { type: 'boolean' }, quick: { type: 'boolean' } } })
    return { json: values.json === true, quick: values.quick === true }
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; there are --json and --quick`)
  }
}
