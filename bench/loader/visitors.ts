import http from 'node:http'
import { serveTask } from '../shared/child.ts'

/** What the visitors of a service do. */
export interface Visit {
  readonly port: number
  readonly connections: number
  readonly warmUpMs: number
  readonly durationMs: number
}

/** What they got. */
export interface Visited {
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Connections that each ask, wait for the answer, and ask again; in a process of its own, as visitors are. */
serveTask(async ({ port, connections, warmUpMs, durationMs }: Visit): Promise<Visited> => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
  const ask = () =>
    new Promise<void>((resolve, reject) => {
      const request = http.get({ host: '127.0.0.1', port, agent }, (response) => {
        response.resume()
        response.on('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`HTTP ${response.statusCode}`)),
        )
      })
      request.on('error', reject)
    })
  const from = performance.now() + warmUpMs
  const until = from + durationMs
  const took: number[] = []
  const visitor = async () => {
    for (let start = performance.now(); start < until; start = performance.now()) {
      await ask()
      if (start >= from) took.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: connections }, visitor))
  took.sort((a, b) => a - b)
  const at = (share: number) => took[Math.floor((took.length - 1) * share)] ?? Number.NaN
  return { requestsPerSecond: took.length / (durationMs / 1_000), p50Ms: at(0.5), p99Ms: at(0.99) }
})
