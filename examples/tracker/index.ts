import type { Example } from '../shared/example.ts'
import { demo, start } from './demo.ts'

/** Live tracking of free-flight pilots: a page that took half a minute to load. */
export const tracker: Example = {
  name: 'tracker',
  title: 'live tracking of free-flight pilots, whose page loaded every flight of every pilot',
  connections: 10,
  demo,
  start,
}
