import type { Example } from '../shared/example.ts'
import { demo, start } from './demo.ts'

/** Live air traffic: a collector that wrote a record at a time, and an API that asked too often. */
export const airTraffic: Example = {
  name: 'air-traffic',
  title: 'live air traffic from a public feed, written a record at a time',
  connections: 50,
  demo,
  start,
}
