import { airTraffic } from './air-traffic/index.ts'
import { openExample, openPostgres, readCommand } from './shared/commands.ts'
import type { Example } from './shared/example.ts'
import { checkPort, listen } from './shared/listen.ts'
import { runProgram } from './shared/program.ts'
import { tracker } from './tracker/index.ts'

const examples: readonly Example[] = [tracker, airTraffic]

const usage = `npm start -- [${examples.map((example) => example.name).join('|')} ...] [--full] [--port <number>]

Fills a database of its own and serves the examples until Ctrl-C; then nothing of it is left.
  --full   the volumes of the reports that the examples were made after
  --port   of the first example, the next ones follow; PORT, or else 3000, by default
It uses an embedded PostgreSQL, or that of DATABASE_URL (in a schema of its own, dropped at the end).`

await runProgram(async (scope) => {
  const command = readCommand(examples, usage)
  if (command === undefined) return
  const { full, port } = command
  const places = command.examples.map((example, index) => ({ example, port: port === 0 ? 0 : port + index }))
  for (const place of places) await checkPort(place.port)
  const postgres = await openPostgres(scope)
  for (const place of places) {
    const context = await openExample(scope, postgres, place.example, full)
    const app = await place.example.start(context)
    const origin = await listen(scope, app, place.port)
    context.print(`${place.example.name} is at ${origin}`)
  }
  console.log('Ctrl-C ends it')
  await scope.interrupted()
})
