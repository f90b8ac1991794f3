import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Checkout, makeCheckout, removeCheckout } from './checkout.ts'
import {
  endAll,
  eventually,
  expectNothingLeft,
  processesNaming,
  type RunOptions,
  run,
  serverFolders,
  serverProcesses,
  serverUp,
} from './run.ts'

let checkout: Checkout
let temporary = ''

beforeAll(() => {
  checkout = makeCheckout()
  temporary = checkout.temporary
})

afterAll(() => removeCheckout(checkout))

afterEach(async () => {
  await endAll(temporary)
  for (const folder of serverFolders(temporary)) rmSync(folder, { recursive: true })
})

const start = (mode: NonNullable<RunOptions['mode']>) => run(checkout, { mode })
const keeperOf = (folder: string) =>
  processesNaming(basename(folder)).find(({ command }) => command.includes('keeper.mjs'))?.pid

describe('when its owner has ended, of a server there is left nothing', () => {
  test.each([
    ['after stop', 'stop', 0],
    ['after an end without stop', 'end', 0],
    ['after process.exit', 'exit', 3],
    ['after an uncaught error', 'throw', 1],
  ] as const)('%s, and at once', async (_, mode, exitCode) => {
    const owner = start(mode)
    await serverUp(owner)
    expect(await owner.ended).toBe(exitCode)
    expect(serverFolders(temporary)).toEqual([])
    const left = processesNaming(`${temporary}/millrace-postgres-`)
    expect(left.filter(({ command }) => !command.includes('keeper.mjs'))).toEqual([])
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('after %s', async (signal) => {
    const owner = start('wait')
    await serverUp(owner)
    const folders = serverFolders(temporary)
    expect(folders).toHaveLength(1)
    expect(serverProcesses(temporary).length).toBeGreaterThan(3)
    process.kill(-owner.pid, signal)
    expect(await owner.ended).toBe(signal)
    await expectNothingLeft(temporary, folders)
  })

  test.each(['SIGINT', 'SIGKILL'] as const)('after %s in the middle of initdb', async (signal) => {
    const owner = start('wait')
    await eventually(() => serverFolders(temporary).some((folder) => existsSync(join(folder, 'data/base/1'))))
    const folders = serverFolders(temporary)
    process.kill(-owner.pid, signal)
    expect(await owner.ended).toBe(signal)
    expect(owner.output()).not.toContain('up')
    await expectNothingLeft(temporary, folders)
  })

  test('after SIGKILL of a server that is frozen', async () => {
    const owner = start('wait')
    await serverUp(owner)
    const folders = serverFolders(temporary)
    for (const { pid, command } of serverProcesses(temporary)) {
      if (!command.includes('keeper.mjs')) process.kill(pid, 'SIGSTOP')
    }
    process.kill(owner.pid, 'SIGKILL')
    await expectNothingLeft(temporary, folders)
  })

  test('after SIGKILL of its keeper, though the owner lives on', async () => {
    const owner = start('wait')
    await serverUp(owner)
    const folders = serverFolders(temporary)
    const keeper = await eventually(() => folders.map(keeperOf)[0])
    process.kill(keeper, 'SIGKILL')
    await expectNothingLeft(temporary, folders)
    process.kill(owner.pid, 'SIGKILL')
    await owner.ended
  })
})

describe('the next start', () => {
  async function killOwnerAndKeeper(): Promise<string> {
    const owner = start('wait')
    await serverUp(owner)
    const folder = await eventually(() => serverFolders(temporary)[0])
    const keeper = await eventually(() => keeperOf(folder))
    // The keeper would be quick to notice.
    process.kill(keeper, 'SIGSTOP')
    process.kill(owner.pid, 'SIGKILL')
    await owner.ended
    process.kill(keeper, 'SIGKILL')
    await eventually(() => keeperOf(folder) === undefined)
    expect(processesNaming(basename(folder)).length).toBeGreaterThan(3)
    return folder
  }

  test('ends and removes what a killed owner and keeper left', async () => {
    const folder = await killOwnerAndKeeper()
    const next = start('stop')
    expect(await next.ended).toBe(0)
    await expectNothingLeft(temporary, [folder])
  })

  test('kills nobody who merely names the folder of a dead server', async () => {
    const folder = await killOwnerAndKeeper()
    const reader = spawn('tail', ['-f', join(folder, 'log')], { stdio: 'ignore' })
    try {
      expect(await start('stop').ended).toBe(0)
      expect(existsSync(folder)).toBe(false)
      expect(reader.exitCode).toBe(null)
      expect(reader.signalCode).toBe(null)
    } finally {
      reader.kill('SIGKILL')
    }
  })

  test('leaves a server alone whose owner lives', async () => {
    const owner = start('wait')
    await serverUp(owner)
    const folders = serverFolders(temporary)
    const before = serverProcesses(temporary)
    expect(await start('stop').ended).toBe(0)
    expect(serverFolders(temporary)).toEqual(folders)
    expect(serverProcesses(temporary).map(({ pid }) => pid)).toEqual(before.map(({ pid }) => pid))
    process.kill(owner.pid, 'SIGTERM')
    await expectNothingLeft(temporary, folders)
  })

  test.runIf(existsSync('/proc/self/ns/pid'))('leaves the folder of another container alone', async () => {
    const own = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')
    const foreign = join(temporary, `millrace-postgres-${Number(own) + 1}-0123456789abcdef`)
    mkdirSync(foreign)
    expect(await start('stop').ended).toBe(0)
    expect(readdirSync(temporary)).toContain(basename(foreign))
    rmdirSync(foreign)
  })
})

describe('starts at once', () => {
  test('make a server each', async () => {
    const owners = [start('wait'), start('wait'), start('wait')]
    const urls = await Promise.all(owners.map(serverUp))
    expect(new Set(urls.map((url) => new URL(url).port)).size).toBe(3)
    const folders = serverFolders(temporary)
    expect(folders).toHaveLength(3)
    for (const owner of owners) process.kill(owner.pid, 'SIGINT')
    await expectNothingLeft(temporary, folders)
  })
})
