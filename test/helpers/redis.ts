import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll } from 'vitest'
import { freePort } from '../../examples/shared/postgres/free-port.ts'
import { Keeper } from '../../examples/shared/postgres/keeper.ts'
import { onPath } from './require.ts'

const usual = 'redis://127.0.0.1:6379'

/** REDIS_URL, or what answers at the usual place, or else the path of a `redis-server` to start. */
export async function findRedis(): Promise<string | undefined> {
  return process.env.REDIS_URL || ((await answers(usual)) ? usual : onPath('redis-server'))
}

/** A Redis, and the way to end it where it is one's own. */
export interface Redis {
  readonly url: string
  stop(): Promise<void>
}

/**
 * A Redis for this file, there from the first `beforeAll` on: one that runs, which others may use as well, or one
 * of this file's own. Goes inside `needs('redis', ...)`.
 */
export function useRedis(): { readonly url: string } {
  let redis: Redis | undefined

  beforeAll(async () => {
    const found = await findRedis()
    if (found === undefined) throw new Error("useRedis: there is no Redis; use it inside needs('redis', ...)")
    redis = found.includes('://') ? await running(found) : await startRedis(found)
  })

  afterAll(() => redis?.stop())

  return {
    get url() {
      if (redis === undefined) throw new Error('useRedis: the server is there only in hooks and tests')
      return redis.url
    },
  }
}

async function running(url: string): Promise<Redis> {
  if (!(await answers(url))) throw new Error(`useRedis: no Redis answers at ${new URL(url).host}`)
  return { url, stop: async () => undefined }
}

/** Starts a Redis on a free port, which ends with this process. */
export async function startRedis(program: string): Promise<Redis> {
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const keeper = new Keeper(tmpdir())
  await keeper.ready()
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  let hasEnded = false
  keeper
    .run({ file: program, args, env: {}, cwd: keeper.folder })
    .catch(() => undefined)
    .finally(() => {
      hasEnded = true
    })
  while (!(await answers(url))) {
    if (hasEnded) throw new Error(`useRedis: ${program} ended at its start`)
    await sleep(10)
  }
  return { url, stop: () => keeper.stop() }
}

/** Whether a Redis is there, with or without a password. */
function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port || 6379) })
    const decide = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => decide(false))
    socket.on('error', () => decide(false))
    socket.on('connect', () => socket.write('PING\r\n'))
    socket.once('data', (data) => decide(/^(\+PONG|-NOAUTH)/.test(data.toString())))
  })
}
