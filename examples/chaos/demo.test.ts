import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { Scope } from '../shared/program.ts'
import { outlive } from './demo.ts'
import { drive } from './load.ts'
import { crash, fill } from './outages.ts'

const times = { beforeMs: 1_000, outageMs: 1_500, afterMs: 3_000 }

for (const outage of [crash, fill]) {
  test(`on millrace, when ${outage.title}, the service lives, loses nothing that it took, and answers again`, async () => {
    const scope = new Scope()
    try {
      const { tallies, lost, died } = await outlive(scope, outage, 'millrace', times)
      expect({ lost, died }).toEqual({ lost: 0, died: undefined })
      for (const { kind, succeeded, answered, failed } of tallies) {
        const last = answered + failed - 1
        expect({ kind, again: succeeded.some((number) => number > last * 0.9) }).toEqual({
          kind,
          again: true,
        })
      }
    } finally {
      await scope.close()
    }
  })
}

test('the load sends at its rate and tells who was answered well', async () => {
  let sent = 0
  const server = createServer(({ url }, response) => {
    sent += 1
    response.statusCode = url === '/bad' ? 500 : 200
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    const tallies = await drive(
      origin,
      [
        { kind: 'list', perSecond: 100, call: () => ({ path: '/good' }) },
        { kind: 'flights', perSecond: 100, call: (number) => ({ path: number === 2 ? '/good' : '/bad' }) },
      ],
      () => sent >= 50,
      new AbortController().signal,
    )
    const [list, flights] = tallies
    expect(list).toMatchObject({ kind: 'list', failed: 0 })
    expect(list?.answered).toBe(list?.succeeded.length)
    expect(flights).toMatchObject({ kind: 'flights', answered: 1, succeeded: [2] })
    expect(flights?.failed).toBeGreaterThan(10)
    expect(flights?.longestOutageMs).toBeGreaterThan(list?.longestOutageMs ?? Infinity)
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

test('the load ends where the program does', async () => {
  const controller = new AbortController()
  controller.abort(new Error('interrupted'))
  await expect(drive('http://127.0.0.1:9', [], () => false, controller.signal)).rejects.toThrow('interrupted')
})
