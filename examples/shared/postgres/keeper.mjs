// @ts-check
/**
 * The keeper of one embedded server: a process of its own that makes the folder, runs initdb and postgres, and
 * ends and removes all of it when its standard input ends. The kernel closes that pipe however the owner dies,
 * kill -9 included, so no signal handler and no exit hook of the owner has to work for it. Plain JavaScript,
 * because it must start without a TypeScript loader.
 *
 *     node keeper.mjs <folder>        folder: .../millrace-postgres-<pid namespace>-<token>
 *
 * Input, a JSON object a line: `{ id, run: { file, args, env, cwd, uid, gid } }` answers `{ id, code, signal }`
 * when that program has ended, its output being in `<folder>/log`; `{ id, kill: 'SIGSTOP' }` signals every process
 * of the server and answers `{ id }`. What fails answers `{ id, error, errno }`. The first line out is
 * `{ id: 0 }`, or its error, once the folder stands.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { endServer, removeDeadServers, signalServer } from './processes.mjs'

const folder = String(process.argv[2])
const name = basename(folder)

/** @param {object} message */
const tell = (message) => {
  try {
    writeSync(1, `${JSON.stringify(message)}\n`)
  } catch {
    // Nobody listens any more; standard input ends too, and says what to do.
  }
}

/** @param {number} id @param {unknown} error */
const fail = (id, error) => {
  const { message, code } = /** @type {NodeJS.ErrnoException} */ (error)
  tell({ id, error: message, errno: code })
}

let ending = false
const end = async () => {
  if (ending) return
  ending = true
  await endServer(name)
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  process.exit(0)
}

/** @param {number} id @param {{ file: string, args: string[], env: Record<string, string>, cwd: string, uid?: number, gid?: number }} program */
function run(id, { file, args, ...options }) {
  const log = openSync(`${folder}/log`, 'a', 0o644)
  const child = spawn(file, args, { ...options, stdio: ['ignore', log, log] })
  closeSync(log)
  child.on('error', (error) => fail(id, error))
  child.on('exit', (code, signal) => tell({ id, code, signal }))
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, end)

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (ending) return
    const { id, ...request } = JSON.parse(line)
    try {
      if (request.run !== undefined) run(id, request.run)
      else {
        signalServer(name, request.kill)
        tell({ id })
      }
    } catch (error) {
      fail(id, error)
    }
  })
  .on('close', end)

try {
  mkdirSync(folder, { mode: 0o755 })
  tell({ id: 0 })
  await removeDeadServers(dirname(folder), name.slice(0, name.lastIndexOf('-') + 1))
} catch (error) {
  fail(0, error)
}
