import type { FastifyInstance } from 'fastify'
import type { Scope } from './program.ts'
import type { StatusLine } from './terminal.ts'
import type { Workspace } from './workspace.ts'

/** What `npm run demo` and `npm start` give an example to work with. */
export interface ExampleContext extends Workspace {
  readonly scope: Scope
  /** Whether the data is as large as the reports' own. */
  readonly full: boolean
  /** For what is under way; gone when something is printed. */
  readonly line: StatusLine
  print(text: string): void
}

/** One of the example apps. */
export interface Example {
  /** As in the command line: `tracker`. */
  readonly name: string
  /** What it shows, in one line. */
  readonly title: string
  /** Connections of its pool. */
  readonly connections: number
  /** Left out where nothing is named. */
  readonly onlyByName?: boolean
  /** Fills the schema, measures the old way beside the new, and prints the table. */
  demo(context: ExampleContext): Promise<void>
  /** Fills the schema and gives the app to serve. */
  start(context: ExampleContext): Promise<FastifyInstance>
}
