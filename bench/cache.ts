/**
 * The cache against its peers: hits, misses, stampede, invalidation, heap, staleness.
 *
 * npm run bench -- cache [--json] [--quick] [--only <table>,...] [--write]: --write puts the tables into docs/benchmarks.md.
 */
import { parseArgs } from 'node:util'
import { runProgram, UsageError } from '../examples/shared/program.ts'
import { formatTable, statusLine } from '../examples/shared/terminal.ts'
import type { Run, Table } from './cache/run.ts'
import { heap } from './cache/table/heap.ts'
import { invalidation } from './cache/table/invalidation.ts'
import { staleness } from './cache/table/staleness.ts'
import { stampede } from './cache/table/stampede.ts'
import { hits, misses } from './cache/table/times.ts'
import { writeBlocks } from './shared/docs.ts'
import { type Machine, machine } from './shared/machine.ts'
import { versionOf } from './shared/peers.mjs'

const sections: Readonly<Record<string, (run: Run) => Promise<Table[]>>> = {
  hits,
  misses,
  stampede,
  invalidation,
  heap,
  staleness,
}

const page = new URL('../docs/benchmarks.md', import.meta.url)

await runProgram(async (scope) => {
  const options = optionsOf(process.argv.slice(2))
  const chosen = options.only?.split(',') ?? Object.keys(sections)
  const unknown = chosen.find((id) => sections[id] === undefined)
  if (unknown !== undefined) {
    throw new UsageError(`--only: there is no table "${unknown}", only ${Object.keys(sections).join(', ')}`)
  }
  const line = statusLine()
  const run: Run = { scope, quick: options.quick === true, show: (text) => line.show(text), failures: [] }
  const on = machine()
  if (options.json !== true) console.log(headOf(on))
  if (run.quick && options.write === true)
    throw new UsageError('--write: the figures of --quick are too rough to be written down')
  const tables: Table[] = []
  for (const id of chosen) {
    const failuresBefore = run.failures.length
    const made = (await sections[id]?.(run)) ?? []
    line.clear()
    tables.push(...made)
    if (options.write === true && run.failures.length === failuresBefore)
      writeBlocks(page, new Map(made.map((table) => [`cache ${table.id}`, textOf(table, on)])))
    if (options.json !== true)
      for (const { title, columns, rows } of made) console.log(`\n${title}\n\n${formatTable(columns, rows)}`)
  }
  if (options.json === true)
    console.log(JSON.stringify({ machine: on, quick: run.quick, tables }, undefined, 2))
  if (run.failures.length > 0) {
    throw new UsageError(
      `not all was measured, and no table with a gap was written: ${run.failures.join('; ')}`,
    )
  }
})

function optionsOf(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        json: { type: 'boolean' },
        quick: { type: 'boolean' },
        only: { type: 'string' },
        write: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new UsageError(
      `${(error as Error).message}; there are --json, --quick, --write and --only <table>,...`,
    )
  }
}

/** What a table's figures are to be read against. */
function headOf({ node, v8, platform, cpu, cores, memoryGb }: Machine): string {
  const limit = `lru-cache ${versionOf('lru-cache')}`
  return `Node ${node} (V8 ${v8}), ${platform}, ${cores} x ${cpu}, ${memoryGb} GB; ${limit}`
}

/** A table as it stands in the docs. */
function textOf({ title, columns, rows }: Table, on: Machine): string {
  return `${headOf(on)}\n\n${title}\n\n${formatTable(columns, rows)}`
}
