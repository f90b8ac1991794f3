import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const bench = new URL('../', import.meta.url)
const newerNode = new URL('node_modules/node/bin/node', bench)
/** The Node for packages that do not support the one that runs this. */
export const NEWER_NODE = 24

/**
 * Installs what bench/package.json lists, as its lock file says, where that is not there yet; and a newer Node
 * beside it where a peer does not support the one that runs this. Says so in one line.
 */
export function installPeers() {
  const { dependencies } = readJson('package.json')
  const isInstalled = ([name, version]) => installedOf(name)?.version === version
  if (!Object.entries(dependencies).every(isInstalled)) {
    console.error(`installing the peers to measure against: ${Object.keys(dependencies).join(', ')}`)
    npm('ci')
  }
  const demanding = Object.keys(dependencies).filter((name) => !isSupported(name))
  if (demanding.length > 0 && !existsSync(newerNode)) {
    console.error(`installing Node ${NEWER_NODE} for ${demanding.join(' and ')}`)
    npm('install', '--no-save', `node@${NEWER_NODE}`)
  }
}

/** The Node to run a package of bench/ on: this one if the package supports it; undefined if there is none. */
export function nodeFor(name) {
  if (name === undefined || isSupported(name)) return process.execPath
  return existsSync(newerNode) ? fileURLToPath(newerNode) : undefined
}

/** The version of a package as installed in bench/. */
export function versionOf(name) {
  return installedOf(name)?.version
}

/** Whether the running Node is one that a package says it supports; only minimum versions are understood. */
function isSupported(name) {
  const least = /^>=\s*(\d+)/.exec(installedOf(name)?.engines?.node ?? '')?.[1]
  return least === undefined || Number(process.versions.node.split('.')[0]) >= Number(least)
}

function installedOf(name) {
  try {
    return readJson(`node_modules/${name}/package.json`)
  } catch {
    return undefined
  }
}

function readJson(path) {
  return JSON.parse(readFileSync(new URL(path, bench), 'utf8'))
}

function npm(...args) {
  const { status } = spawnSync('npm', [...args, '--loglevel=error', '--no-audit', '--no-fund'], {
    cwd: fileURLToPath(bench),
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    throw new Error(`npm ${args[0]} failed in bench/; see above, and run it there by hand`)
  }
}
