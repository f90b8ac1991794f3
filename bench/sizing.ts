/**
 * The size of a pool: poolSizing beside fixed sizes and the rule by the app's CPU, on a model and on a server.
 *
 * npm run bench -- sizing [--json] [--quick] [--write] [--only <table>,...]
 */
import { type Postgres, startPostgres } from '../examples/shared/postgres.ts'
import { formatTable } from '../examples/shared/terminal.ts'
import type { Machine } from './shared/machine.ts'
import { runSections, type Table } from './shared/sections.ts'
import { cost } from './sizing/cost.ts'
import { onModel } from './sizing/model.ts'
import type { Run } from './sizing/run.ts'
import { onServer } from './sizing/server.ts'

await runSections<Run>({
  sections: {
    model: onModel,
    server: onServer,
    cost,
  },
  async open(scope, progress) {
    let postgres: Promise<Postgres> | undefined
    return {
      ...progress,
      async url() {
        postgres ??= scope.use(
          () => startPostgres({ settings: { max_connections: '400' } }),
          (server) => server.stop(),
        )
        return (await postgres).url
      },
    }
  },
  docs: {
    page: new URL('../docs/pool-sizing.md', import.meta.url),
    blockOf: (table, on) => [`sizing ${table.id}`, textOf(table, on)],
  },
})

function textOf({ id, title, columns, rows }: Table, { node, cpu, cores }: Machine): string {
  const where = id === 'model' || id === 'processes' ? '' : `; Node ${node}, ${cores} x ${cpu}`
  return `${title}${where}\n\n${formatTable(columns, rows)}`
}
