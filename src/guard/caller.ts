import { fileURLToPath } from 'node:url'

/** A stack that was taken, and is put into words only when somebody asks. */
export interface Stack {
  readonly stack?: unknown
}

/** Ten frames, the default, end inside Kysely's transaction; the line that is looked for is behind them. */
const frames = 100

/** The stack from here on, through what is awaited. */
export function takeStack(): Stack {
  const holder: Stack = {}
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = frames
  Error.captureStackTrace(holder, takeStack)
  Error.stackTraceLimit = limit
  return holder
}

const own = new URL('../', import.meta.url).href
const frame = /^\s+at (?:async )?(?:(.*?) \()?([^()]*:\d+:\d+)\)?$/
const installed = /[\\/]node_modules[\\/]/
const underneath = /[\\/]node_modules[\\/](?:kysely|pg|pg-[a-z-]+|millrace)[\\/]/

/**
 * The line that sent a statement: the first frame that is neither Node's nor installed, or else the first of what is
 * installed that is neither millrace, Kysely nor pg.
 *
 * @returns `loadUsers (/app/users.ts:12:30)`, `undefined` where no frame is left, as behind a `then` that nobody awaits
 */
export function callerOf(stack: Stack): string | undefined {
  const text = stack.stack
  if (typeof text !== 'string') return undefined
  let library: string | undefined
  for (const line of text.split('\n')) {
    const [, name, location] = frame.exec(line) ?? []
    if (location === undefined || location.startsWith('node:') || isOwn(location)) continue
    const where = pathOf(location)
    const told = name === undefined ? where : `${name} (${where})`
    if (!installed.test(where)) return told
    if (!underneath.test(where)) library ??= told
  }
  return library
}

const ownPath = fileURLToPath(own)

const isOwn = (location: string): boolean => location.startsWith(own) || location.startsWith(ownPath)

function pathOf(location: string): string {
  if (!location.startsWith('file:')) return location
  const [, url = '', position = ''] = /^(.*?)((?::\d+)+)$/.exec(location) ?? []
  try {
    return fileURLToPath(url) + position
  } catch {
    return location
  }
}
