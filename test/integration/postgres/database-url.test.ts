import { createServer, type Server as NetServer } from 'node:net'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkDatabaseUrl } from '../../../examples/shared/postgres/check-url.ts'
import { freePort } from '../../../examples/shared/postgres/free-port.ts'
import type { Server } from '../../../examples/shared/postgres/server.ts'
import { startPostgres } from '../../../examples/shared/postgres.ts'
import { ownServer } from '../../helpers/own-server.ts'

describe('DATABASE_URL', () => {
  let server: Server

  beforeAll(async () => {
    server = await ownServer({ settings: { max_connections: '10', superuser_reserved_connections: '0' } })
  })

  afterAll(() => server.stop())

  test('is used as it is when it can be, and its server is left alone', async () => {
    const postgres = await startPostgres({ databaseUrl: server.url })
    expect(postgres).toMatchObject({ url: server.url, embedded: false })
    await postgres.stop()
    await checkDatabaseUrl(server.url)
  })

  const otherwise = 'or unset it to use the embedded PostgreSQL'

  test.each([
    [
      'is not a URL',
      () => 'nonsense',
      'DATABASE_URL is not the URL of a PostgreSQL: write it as postgres://user:password@host:5432/database, or unset it to use the embedded one',
    ],
    [
      'is the URL of something else',
      () => 'https://user:secret@example.org/',
      'DATABASE_URL is not the URL of a PostgreSQL: write it as postgres://user:password@host:5432/database, or unset it to use the embedded one',
    ],
    [
      'has a port at which nobody listens',
      () => 'postgres://u:secret@127.0.0.1:1/db',
      `DATABASE_URL (u@127.0.0.1:1/db): nothing answers there: start that server, correct the URL, ${otherwise}`,
    ],
    [
      'has a host that does not exist',
      () => 'postgres://u:secret@nowhere.invalid/db',
      `DATABASE_URL (u@nowhere.invalid:5432/db): there is no such host: correct the URL, ${otherwise}`,
    ],
    [
      'has a wrong password',
      () => server.url.replace(/:\w+@/, ':secret@'),
      `DATABASE_URL (postgres@127.0.0.1:PORT/postgres): the server does not accept this password: correct the URL, ${otherwise}`,
    ],
    [
      'lacks the password',
      () => server.url.replace(/:\w+@/, '@'),
      `DATABASE_URL (postgres@127.0.0.1:PORT/postgres): the server asks for a password: add it, ${otherwise}`,
    ],
    [
      'names a database that does not exist',
      () => server.url.replace(/postgres$/, 'none'),
      `DATABASE_URL (postgres@127.0.0.1:PORT/none): there is no such database: make it (createdb), correct the URL, ${otherwise}`,
    ],
    [
      'asks for TLS of a server without it',
      () => `${server.url}?sslmode=verify-full`,
      `DATABASE_URL (postgres@127.0.0.1:PORT/postgres): The server does not support SSL connections: correct the URL, ${otherwise}`,
    ],
  ])('that %s is one line that says what to do', async (_, url, message) => {
    await expect(startPostgres({ databaseUrl: url() })).rejects.toMatchObject({
      name: 'DatabaseUnavailableError',
      message: message.replace('PORT', String(server.port)),
      stack: expect.not.stringContaining('\n'),
    })
  })

  test('of a server that is full is one line that says what to do', async () => {
    const clients = Array.from({ length: 10 }, () => new pg.Client(server.url))
    await Promise.all(clients.map((client) => client.connect()))
    await expect(startPostgres({ databaseUrl: server.url })).rejects.toThrow(
      /: the server has no connection to spare: end some, or unset it/,
    )
    await Promise.all(clients.map((client) => client.end()))
  })

  describe('of something that is no PostgreSQL', () => {
    const listeners: NetServer[] = []

    afterAll(() => {
      for (const listener of listeners) listener.close()
    })

    async function listen(answer: string | undefined): Promise<string> {
      const port = await freePort()
      const listener = createServer((socket) => {
        socket.on('error', () => undefined)
        if (answer !== undefined) socket.end(answer)
      })
      listeners.push(listener)
      await new Promise<void>((resolve) => {
        listener.listen(port, '127.0.0.1', resolve)
      })
      return `postgres://u@127.0.0.1:${port}/db`
    }

    test('and is silent is one line that says what to do', async () => {
      await expect(checkDatabaseUrl(await listen(undefined), 200)).rejects.toThrow(
        /: the server does not answer in time: correct the URL, or unset it/,
      )
    })

    test('and speaks otherwise is one line that says what to do', async () => {
      await expect(checkDatabaseUrl(await listen('HTTP/1.1 400 Bad Request\r\n\r\n'), 200)).rejects.toThrow(
        /^DATABASE_URL \(u@127\.0\.0\.1:\d+\/db\): [^\n]+: correct the URL, or unset it to use the embedded PostgreSQL$/,
      )
    })
  })
})
