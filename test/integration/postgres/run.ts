import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Checkout } from './checkout.ts'

/** How to run a program that owns a server. */
export interface RunOptions {
  /** What it does when its server is up: stop it, or end in this way, or wait to be ended. */
  readonly mode?: 'stop' | 'end' | 'exit' | 'throw' | 'wait'
  /** Instead of the checkout's own. */
  readonly temporary?: string
  /** Options of `startServer`. */
  readonly options?: object
  readonly umask?: string
  readonly uid?: number
}

/** A program that owns a server. */
export interface Run {
  /** Its process id, which is also its process group. */
  readonly pid: number
  /** What it wrote so far. */
  readonly output: () => string
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>
}

/** Starts the program of a checkout, in a process group of its own, as a terminal would. */
export function run(
  { root, program, ...checkout }: Checkout,
  { mode = 'stop', temporary = checkout.temporary, options = {}, umask = '022', uid }: RunOptions = {},
): Run {
  const line = [process.execPath, program, mode, JSON.stringify(options)]
  const child = spawn('/bin/sh', ['-c', `umask ${umask}; exec "$@"`, 'sh', ...line], {
    cwd: root,
    detached: true,
    env: { PATH: process.env.PATH ?? '', TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  let output = ''
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const ended = new Promise<number | string>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal ?? code ?? 'nothing'))
  })
  return { pid: child.pid ?? 0, output: () => output, ended }
}

/** Resolves when a program's server is up. */
export function serverUp({ output }: Run): Promise<string> {
  return eventually(() => /^up (\S+)$/m.exec(output())?.[1])
}

/** What `look` finds as soon as it finds anything. */
export async function eventually<T>(look: () => T | undefined | false, withinMs = 20_000): Promise<T> {
  const untilMs = performance.now() + withinMs
  for (;;) {
    const found = look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > untilMs) throw new Error(`waited ${withinMs} ms in vain for ${look}`)
    await sleep(5)
  }
}

/** Ends every process that has to do with a temporary folder and the servers in it. */
export async function endAll(temporary: string): Promise<void> {
  const texts = [temporary, ...serverFolders(temporary).map((folder) => basename(folder))]
  const left = () => texts.flatMap(processesNaming)
  for (const { pid } of left()) process.kill(pid, 'SIGKILL')
  await eventually(() => left().length === 0)
}

/** The processes that have something to do with a folder, by their command lines. */
export function processesNaming(text: string): { pid: number; command: string }[] {
  const all = existsSync('/proc/self/cmdline')
    ? readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map(processOf)
    : execFileSync('ps', ['-A', '-ww', '-o', 'pid=,command='], { encoding: 'utf8' })
        .split('\n')
        .map((line) => ({ pid: Number.parseInt(line, 10), command: line.trim() }))
  return all.filter(({ pid, command }) => pid !== process.pid && command.includes(text))
}

function processOf(pid: string): { pid: number; command: string } {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    return { pid: Number(pid), command }
  } catch {
    return { pid: Number(pid), command: '' }
  }
}

/** The folders of servers in a temporary folder. */
export function serverFolders(temporary: string): string[] {
  return readdirSync(temporary)
    .filter((name) => /^millrace-postgres-\d+-/.test(name))
    .map((name) => join(temporary, name))
}

/** The processes of the servers in a temporary folder, their keepers among them. */
export function serverProcesses(temporary: string): { pid: number; command: string }[] {
  return serverFolders(temporary).flatMap((folder) => processesNaming(basename(folder)))
}

/** Waits until nothing is left of these servers, and no other is there either. */
export async function expectNothingLeft(temporary: string, folders: readonly string[]): Promise<void> {
  const left = () => [
    ...serverFolders(temporary),
    ...folders.flatMap((folder) => processesNaming(basename(folder))),
  ]
  await eventually(() => left().length === 0, 15_000).catch(() => undefined)
  expect(left()).toEqual([])
}
