/**
 * The size of a pool: poolSizing beside fixed sizes and the rule by the app's CPU, on a model and on a server.
 *
 * npm run bench -- sizing [--json] [--quick] [--write] [--only <table>,...]
 */
import { parseArgs } from 'node:util'
import { type Postgres, startPostgres } from '../examples/shared/postgres.ts'
import { runProgram, UsageError } from '../examples/shared/program.ts'
import { formatTable, statusLine } from '../examples/shared/terminal.ts'
import { writeBlocks } from './shared/docs.ts'
import { type Machine, machine } from './shared/machine.ts'
import { cost } from './sizing/cost.ts'
import { onModel } from './sizing/model.ts'
import type { Run, Table } from './sizing/run.ts'
import { onServer } from './sizing/server.ts'

const sections: Readonly<Record<string, (run: Run) => Promise<Table[]>>> = {
  model: onModel,
  server: onServer,
  cost,
}

const page = new URL('../docs/pool-sizing.md', import.meta.url)

await runProgram(async (scope) => {
  const options = optionsOf(process.argv.slice(2))
  const chosen = options.only?.split(',') ?? Object.keys(sections)
  const unknown = chosen.find((id) => sections[id] === undefined)
  if (unknown !== undefined) {
    throw new UsageError(`--only: there is no table "${unknown}", only ${Object.keys(sections).join(', ')}`)
  }
  if (options.write === true && options.quick === true) {
    throw new UsageError('--write: the figures of --quick are too rough to be written down')
  }
  const line = statusLine()
  const on = machine()
  let postgres: Promise<Postgres> | undefined
  const run: Run = {
    quick: options.quick === true,
    async url() {
      postgres ??= scope.use(
        () => startPostgres({ settings: { max_connections: '400' } }),
        (server) => server.stop(),
      )
      return (await postgres).url
    },
    show(text) {
      scope.signal.throwIfAborted()
      line.show(text)
    },
  }
  if (options.json !== true) {
    console.log(`Node ${on.node}, ${on.platform}, ${on.cores} x ${on.cpu}, ${on.memoryGb} GB`)
    if (run.quick) console.log('--quick: short runs, the figures are rough')
  }
  const tables: Table[] = []
  for (const id of chosen) {
    const made = (await sections[id]?.(run)) ?? []
    line.clear()
    tables.push(...made)
    if (options.write === true) {
      writeBlocks(page, new Map(made.map((table) => [`sizing ${table.id}`, textOf(table, on)])))
    }
    if (options.json === true) continue
    for (const { title, columns, rows } of made) console.log(`\n${title}\n\n${formatTable(columns, rows)}`)
  }
  if (options.json === true)
    console.log(JSON.stringify({ machine: on, quick: run.quick, tables }, undefined, 2))
})

function textOf({ id, title, columns, rows }: Table, { node, cpu, cores }: Machine): string {
  const where = id === 'model' || id === 'processes' ? '' : `; Node ${node}, ${cores} x ${cpu}`
  return `${title}${where}\n\n${formatTable(columns, rows)}`
}

function optionsOf(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        json: { type: 'boolean' },
        quick: { type: 'boolean' },
        write: { type: 'boolean' },
        only: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new UsageError(
      `${(error as Error).message}; there are --json, --quick, --write and --only <table>,...`,
    )
  }
}
