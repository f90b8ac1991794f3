import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { type Load, Meter, measure } from './measure.ts'

const meter = new Meter()
afterAll(() => meter.close())

describe.each([
  ['in this thread', measure],
  ['in a thread of its own', (load: Load) => meter.measure(load)],
])('a load sent %s', (_, send) => {
  let server: Server | undefined

  afterEach(() => {
    server?.closeAllConnections()
    server?.close()
  })

  /** A server that answers after `ms`, and what it was asked. */
  async function serve(statusCode = 200, ms = 1) {
    const asked: string[] = []
    let most = 0
    let now = 0
    server = createServer(async (request, response) => {
      now += 1
      most = Math.max(most, now)
      let body = ''
      for await (const chunk of request) body += chunk
      asked.push(`${request.method} ${request.url} ${body}`.trim())
      await new Promise((resolve) => setTimeout(resolve, ms))
      now -= 1
      response.writeHead(statusCode).end('{}')
    })
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return { origin, asked, most: () => most }
  }

  test('goes through the calls in turn, by as many users as asked for, and ends at the number of requests', async () => {
    const { origin, asked, most } = await serve(200, 20)
    const calls = [{ path: '/a?b=1' }, { path: '/c', body: { d: 0 } }]
    const measured = await send({ origin, users: 5, calls, requests: 20 })

    expect(asked.filter((call) => call === 'GET /a?b=1')).toHaveLength(10)
    expect(asked.filter((call) => call === 'POST /c {"d":0}')).toHaveLength(10)
    expect(most()).toBe(5)
    expect(measured).toMatchObject({ requests: 20, errors: 0 })
    expect(measured.p50Ms).toBeGreaterThanOrEqual(19)
    expect(measured.p99Ms).toBeGreaterThanOrEqual(measured.p50Ms)
    expect(measured.maxMs).toBeGreaterThanOrEqual(measured.p99Ms)
  })

  test('ends after its time', async () => {
    const { origin } = await serve()
    const measured = await send({ origin, users: 2, calls: [{ path: '/' }], durationMs: 100 })
    expect(measured.requests).toBeGreaterThan(1)
    expect(measured.durationMs).toBeGreaterThanOrEqual(100)
  })

  test('counts refusals and missing answers as errors', async () => {
    const { origin } = await serve(500)
    expect(await send({ origin, users: 1, calls: [{ path: '/' }], requests: 3 })).toMatchObject({ errors: 3 })
    const nobody = 'http://127.0.0.1:9'
    expect(await send({ origin: nobody, users: 1, calls: [{ path: '/' }], requests: 3 })).toMatchObject({
      errors: 3,
    })
  })

  test('must have something to send and an end', async () => {
    const origin = 'http://127.0.0.1:9'
    await expect(send({ origin, users: 1, calls: [], requests: 1 })).rejects.toThrow('give calls')
    await expect(send({ origin, users: 1, calls: [{ path: '/' }] })).rejects.toThrow('to end')
  })
})

test('a load in a thread is given up when the thread is closed', async () => {
  const own = new Meter()
  const server = createServer(() => void own.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const load = { origin, users: 1, calls: [{ path: '/' }], requests: 1 }
  await expect(own.measure(load)).rejects.toThrow('the measuring thread was ended')
  server.closeAllConnections()
  server.close()
})
