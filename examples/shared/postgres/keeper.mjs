// @ts-check
/**
 * The keeper of one embedded server: a process of its own that makes the server's folder, runs initdb and
 * postgres, and ends and removes all of it when its standard input ends. The kernel closes that pipe however the
 * owner dies, kill -9 included, so nothing depends on a signal handler or an exit hook of the owner. It is plain
 * JavaScript because it has to start without a TypeScript loader.
 *
 *     node keeper.mjs <folder>
 *
 * It reads requests, one JSON object a line, and answers each with its `id`, or with `{ id, error, code }`:
 *
 *     { id, run: { file, args, env, cwd, uid, gid } }    runs a program, output to <folder>/log; when it has
 *                                                        ended: { id, exitCode, signal }
 *     { id, kill: 'SIGSTOP' }                            signals every process of the server
 *     { id, interrupt: true }                            asks the program to end: a fast shutdown
 *     { id, end: true }                                  ends every process of the server and waits for that
 *
 * Before any request it says `{ id: 0 }` when the folder stands.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { endServer, removeDeadServers, removeServer, signalServer } from './processes.mjs'

const folder = String(process.argv[2])
const name = basename(folder)

/** @type {Set<import('node:child_process').ChildProcess>} */
const programs = new Set()
/** @type {Promise<void> | undefined} */
let sweep
let isEnding = false

/** @param {object} answer */
function tell(answer) {
  try {
    writeSync(1, `${JSON.stringify(answer)}\n`)
  } catch {
    // The owner is gone; standard input ends too, and that is acted on.
  }
}

/** @param {number} id @param {unknown} error */
function fail(id, error) {
  const { message, code } = /** @type {NodeJS.ErrnoException} */ (error)
  tell({ id, error: message, code })
}

/** @param {{ id: number, run?: any, kill?: NodeJS.Signals, interrupt?: true }} request */
async function serve({ id, run, kill, interrupt }) {
  if (run !== undefined) return runProgram(id, run)
  if (kill !== undefined) signalServer(name, kill)
  else if (interrupt) for (const program of programs) program.kill('SIGINT')
  else await endServer(name)
  tell({ id })
}

/** @param {number} id @param {any} program */
function runProgram(id, { file, args, ...options }) {
  const log = openSync(`${folder}/log`, 'a', 0o600)
  const program = spawn(file, args, { ...options, stdio: ['ignore', log, log] })
  closeSync(log)
  programs.add(program)
  program.on('error', (error) => fail(id, error))
  program.on('exit', (exitCode, signal) => {
    programs.delete(program)
    tell({ id, exitCode, signal })
  })
}

async function end() {
  if (isEnding) return
  isEnding = true
  await endServer(name)
  for (const program of programs) program.kill('SIGKILL')
  // Some containers have nobody who takes note of the end of an orphan.
  for (let waitedMs = 0; programs.size > 0 && waitedMs < 1_000; waitedMs += 5) await sleep(5)
  removeServer(folder)
  await sweep
  process.exit(0)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end)

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (isEnding) return
    const request = JSON.parse(line)
    serve(request).catch((error) => fail(request.id, error))
  })
  .on('close', end)

// Whatever the owner's umask: a server that runs as another user has to pass through, and nobody else to look in.
process.umask(0)
try {
  mkdirSync(folder, { mode: 0o711 })
  tell({ id: 0 })
  // While the new server starts, not before it: what the dead left does not hold up the living.
  sweep = removeDeadServers(dirname(folder), name).catch((error) => console.error(String(error)))
} catch (error) {
  fail(0, error)
}
