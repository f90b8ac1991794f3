// @ts-check
/**
 * The processes of an embedded server, known by the random name of its folder in their command lines: the keeper
 * and the postmaster have it as an argument, the postmaster's children in their titles (`cluster_name`). A
 * process id that was written down proves nothing, for the system may have given it to somebody else since.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** @returns {{ pid: number, command: string }[]} */
function allProcesses() {
  if (!existsSync('/proc/self/cmdline')) {
    const list = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,command='], { encoding: 'utf8' })
    return list.split('\n').map((line) => {
      const [, pid, command = ''] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? []
      return { pid: Number(pid), command }
    })
  }
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    try {
      return [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }]
    } catch {
      return []
    }
  })
}

/** By its first word: a shell, a pager or an editor that names the folder is not the server's. */
const isServer = (/** @type {string} */ command) =>
  /^postgres:|(^|\/)(postgres|initdb)( |$)/.test(command.split('\0', 1)[0] ?? '')

/** @param {string} name the folder's */
const serverProcesses = (name) =>
  allProcesses().filter(({ command }) => command.includes(name) && isServer(command))

/** @param {string} name the folder's @param {NodeJS.Signals} signal */
export function signalServer(name, signal) {
  for (const { pid } of serverProcesses(name)) {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended by itself.
    }
  }
}

/**
 * Ends every process of the server: at once and without a checkpoint, for its data are thrown away or recovered;
 * by force after 5 s. Asks again and again, because initdb may be just about to start another.
 *
 * @param {string} name the folder's
 */
export async function endServer(name) {
  const pauseMs = 10
  for (let waitedMs = 0; waitedMs < 10_000 && serverProcesses(name).length > 0; waitedMs += pauseMs) {
    signalServer(name, waitedMs < 5_000 ? 'SIGQUIT' : 'SIGKILL')
    signalServer(name, 'SIGCONT')
    await sleep(pauseMs)
  }
}

/**
 * Ends and removes what servers left in `parent` whose keepers were killed: those of this user and with the same
 * prefix, which is the pid namespace, since the processes of another container cannot be seen from here.
 *
 * @param {string} parent
 * @param {string} ownName of the caller's folder
 */
export async function removeDeadServers(parent, ownName) {
  const prefix = ownName.slice(0, ownName.lastIndexOf('-') + 1)
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(prefix)) continue
    const folder = `${parent}/${name}`
    if (lstatSync(folder, { throwIfNoEntry: false })?.uid !== process.getuid?.()) continue
    const isKept = ({ command = '' }) => command.includes('keeper.mjs') && command.includes(name)
    if (allProcesses().some(isKept)) continue
    await endServer(name)
    removeServer(folder)
  }
}

/**
 * Removes the folder of a server that has ended.
 *
 * @param {string} folder
 */
export function removeServer(folder) {
  removeSharedMemory(`${folder}/data/postmaster.pid`)
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
}

/**
 * Removes the small segment by which PostgreSQL keeps two servers off one data folder. A postmaster that was killed
 * leaves its status file and the segment, and the system has only so many of those.
 *
 * @param {string} status
 */
function removeSharedMemory(status) {
  try {
    const [postmaster, , , , , , segment = ''] = readFileSync(status, 'utf8').split('\n')
    const [key, id = ''] = segment.trim().split(/\s+/)
    const isLeft = readFileSync('/proc/sysvipc/shm', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .some((fields) => fields[0] === key && fields[1] === id && fields[4] === postmaster)
    if (isLeft) execFileSync('ipcrm', ['-m', id])
  } catch {
    // There is no status file, no /proc or no ipcrm: nothing to remove, or no way to.
  }
}
