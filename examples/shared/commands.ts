import { parseArgs } from 'node:util'
import type { Example, ExampleContext } from './example.ts'
import { type Postgres, startPostgres } from './postgres.ts'
import { type Scope, UsageError } from './program.ts'
import { statusLine } from './terminal.ts'
import { openWorkspace } from './workspace.ts'

/** What the user asked for. */
export interface Command {
  readonly examples: readonly Example[]
  readonly full: boolean
  readonly port: number
}

/**
 * Reads the arguments of `npm run demo` and `npm start`; for `--help` it prints the usage, and there is no command.
 *
 * @throws UsageError what was not understood
 */
export function readCommand(
  examples: readonly Example[],
  usage: string,
  args = process.argv.slice(2),
): Command | undefined {
  const known = examples.map((example) => example.name).join(', ')
  const { values, positionals } = parse(args)
  if (values.help === true) {
    console.log(usage)
    return undefined
  }
  const chosen = positionals.map((name) => {
    const example = examples.find((one) => one.name === name)
    if (example === undefined)
      throw new UsageError(`there is no example ${JSON.stringify(name)}; there is ${known}`)
    return example
  })
  const port = values.port ?? process.env.PORT ?? '3000'
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
    throw new UsageError(`the port must be a number from 0 to 65535, got ${JSON.stringify(port)}`)
  return {
    examples: chosen.length === 0 ? examples.filter((example) => example.onlyByName !== true) : chosen,
    full: values.full === true,
    port: Number(port),
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: { full: { type: 'boolean' }, port: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${message.split('. ')[0]}; --help shows what can be given`)
  }
}

/** The database for a command: DATABASE_URL's, or the embedded one. */
export async function openPostgres(scope: Scope): Promise<Postgres> {
  const line = statusLine(scope.signal)
  line.show('starting PostgreSQL ...')
  try {
    return await scope.use(
      () => startPostgres(),
      (postgres) => postgres.stop(),
    )
  } finally {
    line.clear()
  }
}

/** A schema of the example's own, and all else that an example works with. */
export async function openExample(
  scope: Scope,
  postgres: Postgres,
  example: Example,
  full: boolean,
): Promise<ExampleContext> {
  const workspace = await openWorkspace(scope, postgres, {
    example: example.name,
    connections: example.connections,
  })
  const line = statusLine(scope.signal)
  return {
    ...workspace,
    scope,
    full,
    line,
    print(text) {
      line.clear()
      console.log(text)
    },
  }
}
