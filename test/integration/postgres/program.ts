/**
 * A program that owns a server, for tests of how it ends: `program.ts <mode> <options of startServer>`. A checkout
 * runs it as well, compiled.
 */
import { startServer } from '../../../examples/shared/postgres/server.ts'

const [mode, options = '{}'] = process.argv.slice(2)

try {
  const server = await startServer({ durable: false, ...JSON.parse(options) })
  console.log(`up ${server.url}`)
  if (mode === 'stop') await server.stop()
  if (mode === 'exit') process.exit(3)
  if (mode === 'throw') {
    setTimeout(() => {
      throw new Error('thrown on purpose')
    })
  }
  if (mode === 'wait') setInterval(() => undefined, 1_000)
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
