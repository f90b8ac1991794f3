// @ts-check
/**
 * The processes of an embedded server, found by its folder's random name in their command lines: the keeper and
 * the postmaster have it as an argument, the postmaster's children in their titles (`cluster_name`). So nothing
 * is killed on the word of a process id that the system may have given to somebody else since.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** @returns {{ pid: number, command: string }[]} */
function allProcesses() {
  if (!existsSync('/proc/self/cmdline')) {
    return execFileSync('ps', ['-A', '-ww', '-o', 'pid=,command='], { encoding: 'utf8' })
      .split('\n')
      .map((line) => ({ pid: Number.parseInt(line, 10), command: line.trim().replace(/^\d+\s+/, '') }))
  }
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    try {
      return [
        { pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') },
      ]
    } catch {
      return []
    }
  })
}

/** A shell or a pager that merely names the folder is none of ours. */
const serverProgram = /^(\S*\/)?(postgres|initdb)[: ]/

/** @param {string} token */
const serverProcesses = (token) =>
  allProcesses().filter(({ command }) => command.includes(token) && serverProgram.test(command))

/** @param {string} token @param {NodeJS.Signals} signal */
export function signalServer(token, signal) {
  for (const { pid } of serverProcesses(token)) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended meanwhile.
    }
  }
}

/**
 * Ends every process of the server without a checkpoint (its data are thrown away), by force after 5 s.
 *
 * @param {string} token
 */
export async function endServer(token) {
  signalServer(token, 'SIGQUIT')
  signalServer(token, 'SIGCONT')
  for (let waitedMs = 0; serverProcesses(token).length > 0; waitedMs += 20) {
    if (waitedMs >= 5_000) signalServer(token, 'SIGKILL')
    if (waitedMs >= 10_000) return
    await sleep(20)
  }
}

/**
 * Ends and removes what servers left in `parent` whose keepers were killed.
 *
 * @param {string} parent
 * @param {string} prefix what the names of their folders begin with
 */
export async function removeDeadServers(parent, prefix) {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith(prefix))) {
    const folder = `${parent}/${name}`
    if (lstatSync(folder, { throwIfNoEntry: false })?.uid !== process.getuid?.()) continue
    const isKept = allProcesses().some(
      ({ command }) => command.includes('keeper.mjs') && command.includes(name),
    )
    if (isKept) continue
    await endServer(name)
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}
