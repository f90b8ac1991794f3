import type { Clock } from '../core/clock.ts'
import { ignore, isAtRest, type PooledClient } from './parts.ts'

/**
 * Calls back when nothing is on its way on a client any more, in that very moment: whoever waits for the answer that
 * came last hears of it later.
 *
 * @param then is told whether it came to rest in time; not where it broke
 */
export function comeToRest(
  client: PooledClient,
  clock: Clock,
  patienceMs: number,
  then: (rested: boolean) => void,
): void {
  if (client._queryable === false || isAtRest(client)) {
    then(client._queryable !== false)
    return
  }
  const settle = (rested: boolean) => {
    clock.clearTimeout(timer)
    client.removeListener('drain', drained)
    client.removeListener('end', ended)
    client.removeListener('error', ignore)
    then(rested)
  }
  const drained = () => settle(true)
  const ended = () => settle(false)
  const timer = clock.setTimeout(ended, patienceMs)
  client.on('drain', drained)
  client.on('end', ended)
  client.on('error', ignore)
}
