import { airTraffic } from './air-traffic/index.ts'
import { chaos } from './chaos/index.ts'
import { openExample, openPostgres, readCommand } from './shared/commands.ts'
import type { Example } from './shared/example.ts'
import { describeMachine } from './shared/machine.ts'
import { runProgram } from './shared/program.ts'
import { tracker } from './tracker/index.ts'

const examples: readonly Example[] = [tracker, airTraffic, chaos]

const usage = `npm run demo -- [${examples.map((example) => example.name).join('|')} ...] [--full]

Fills a database of its own, measures the old way beside the new, prints the tables, and leaves nothing behind.
  --full   the volumes of the reports that the examples were made after; takes minutes
chaos, only when it is named, lets a database of its own fail under the tracker.
It uses an embedded PostgreSQL, or that of DATABASE_URL (in a schema of its own, dropped at the end).`

await runProgram(async (scope) => {
  const command = readCommand(examples, usage)
  if (command === undefined) return
  const postgres = await openPostgres(scope)
  for (const example of command.examples) {
    const context = await openExample(scope, postgres, example, command.full)
    const machine = await describeMachine(context.pool, postgres.embedded)
    context.print(`${example.name}: ${example.title}\n`)
    await example.demo(context)
    context.print(`\nmeasured on ${machine}`)
  }
  console.log('to look at the page: npm start')
})
