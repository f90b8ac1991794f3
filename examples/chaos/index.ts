import type { Example } from '../shared/example.ts'
import { UsageError } from '../shared/program.ts'
import { demo } from './demo.ts'

/** The tracker, while its database crashes, freezes and fills up. */
export const chaos: Example = {
  name: 'chaos',
  title: 'the tracker while its database fails, on pg alone and on millrace',
  connections: 1,
  onlyByName: true,
  demo,
  async start() {
    throw new UsageError('chaos has nothing to serve: npm run demo -- chaos')
  },
}
