import { serveTask } from '../shared/child.ts'
import { contenderOf, type Entry } from './contenders.ts'
import { measureHeap } from './measure/heap.ts'
import { measureHits } from './measure/hits.ts'
import { measureInvalidation } from './measure/invalidation.ts'
import { measureMisses } from './measure/misses.ts'
import { measureStaleness } from './measure/staleness.ts'
import { measureStampede } from './measure/stampede.ts'

const tasks = {
  hits: measureHits,
  misses: measureMisses,
  stampede: measureStampede,
  invalidation: measureInvalidation,
  heap: measureHeap,
  staleness: measureStaleness,
}

/** The tasks, by name. */
export type Tasks = typeof tasks

/** What a worker is asked to do. */
export type Job = {
  readonly [K in keyof Tasks]: {
    readonly task: K
    readonly entry: Entry
    readonly options: Parameters<Tasks[K]>[1]
  }
}[keyof Tasks]

serveTask(async ({ task, entry, options }: Job) => {
  const contender = await contenderOf(entry)
  return tasks[task](contender, options as never)
})
