import { type Token, Tokens } from './sql-tokens.ts'

/** What a command does to the transaction. */
export interface TransactionControl {
  readonly type:
    | 'begin'
    | 'commit'
    | 'rollback'
    | 'savepoint'
    | 'release'
    | 'rollbackTo'
    | 'prepare'
    | 'commitPrepared'
    | 'rollbackPrepared'
  /** Of a savepoint, or the identifier of a prepared transaction. */
  readonly name: string | undefined
  /** Whether the next transaction begins at once (AND CHAIN). */
  readonly chain: boolean
}

/** What can be said of a statement from its text, as far as transactions go. */
export interface SqlShape {
  /** For each command what it does to the transaction, if anything. */
  readonly commands: readonly (TransactionControl | undefined)[]
  /** Of a text with one command, what that does. */
  readonly control: TransactionControl | undefined
  readonly script: boolean
  readonly commits: boolean
}

/** A command that leaves the transaction alone. */
export const plainSql: SqlShape = shape([undefined])

/**
 * Reads from a text what its commands do to the transaction. Nothing else is parsed: quotes, dollar quotes,
 * comments and bodies of SQL functions are skipped over.
 *
 * @param simple whether it goes by the simple protocol, where a text may hold several commands
 */
export function shapeOf(text: string, simple: boolean): SqlShape {
  if (simple && text.indexOf(';') !== -1) return shape(commandsOf(text).map(controlOf))
  if (!mayControl.test(text)) return plainSql
  const control = controlOf(firstTokens(new Tokens(text)))
  return control === undefined ? plainSql : shape([control])
}

/** Whether a text is one command whose rows a portal can hand out in portions, and that may stand behind others. */
export function isBoundable(text: string): boolean {
  if (text.indexOf(';') !== -1 && commandsOf(text).length !== 1) return false
  const first = new Tokens(text).next()
  return boundable.has(wordOf(first)) || isSymbol(first, '(')
}

const boundable = new Set(['select', 'insert', 'update', 'delete', 'merge', 'with', 'values', 'table'])

/** Cheap, for every statement goes through it: how a text begins that may control the transaction. */
const mayControl = /^\s*(?:be|st|sa|co|en|ab|ro|re|pr|--|\/\*)/i

function isCommit(control: TransactionControl | undefined): boolean {
  return control?.type === 'commit' || control?.type === 'prepare'
}

function shape(commands: SqlShape['commands']): SqlShape {
  const script = commands.length > 1
  return { commands, control: script ? undefined : commands[0], script, commits: commands.some(isCommit) }
}

/** The longest command of interest: ROLLBACK TRANSACTION TO SAVEPOINT name; BEGIN's modes do not matter. */
const tokensOfInterest = 6

function firstTokens(tokens: Tokens): Token[] {
  const first: Token[] = []
  for (let token = tokens.next(); token !== undefined && !isSymbol(token, ';'); token = tokens.next()) {
    first.push(token)
    if (first.length === tokensOfInterest) break
  }
  return first
}

/**
 * The first tokens of each command of a script. A semicolon in parentheses (CREATE RULE) or in the body of an
 * SQL function (BEGIN ATOMIC ... END) ends no command.
 */
function commandsOf(text: string): Token[][] {
  const tokens = new Tokens(text)
  const commands: Token[][] = []
  let command: Token[] = []
  let parentheses = 0
  let blocks = 0
  for (let token = tokens.next(); token !== undefined; token = tokens.next()) {
    const word = wordOf(token)
    if (isSymbol(token, '(')) parentheses += 1
    else if (isSymbol(token, ')')) parentheses -= 1
    else if (word === 'begin' && isRoutine(command)) blocks += 1
    else if (word === 'case' && blocks > 0) blocks += 1
    else if (word === 'end' && blocks > 0) blocks -= 1
    else if (isSymbol(token, ';') && parentheses <= 0 && blocks === 0) {
      if (command.length > 0) commands.push(command)
      command = []
      continue
    }
    if (command.length < tokensOfInterest) command.push(token)
  }
  if (command.length > 0) commands.push(command)
  return commands
}

function isRoutine([first, second, third, fourth]: readonly Token[]): boolean {
  if (wordOf(first) !== 'create') return false
  const kind = wordOf(second) === 'or' && wordOf(third) === 'replace' ? wordOf(fourth) : wordOf(second)
  return kind === 'function' || kind === 'procedure'
}

const isSymbol = (token: Token | undefined, text: string): boolean =>
  token?.kind === 'symbol' && token.text === text

/** An unquoted word in lower case; '' for everything else. */
const wordOf = (token: Token | undefined): string => (token?.kind === 'word' ? token.text.toLowerCase() : '')

const nameOf = (token: Token | undefined): string | undefined => {
  if (token === undefined) return undefined
  return token.kind === 'word' ? token.text.toLowerCase() : token.text
}

const control = (
  type: TransactionControl['type'],
  name: string | undefined = undefined,
  chain = false,
): TransactionControl => ({ type, name, chain })

/** @see https://www.postgresql.org/docs/current/sql-commands.html */
function controlOf(tokens: readonly Token[]): TransactionControl | undefined {
  const first = wordOf(tokens[0])
  const second = wordOf(tokens[1])
  switch (first) {
    case 'begin':
      return control('begin')
    case 'start':
      return second === 'transaction' ? control('begin') : undefined
    case 'savepoint':
      return control('savepoint', nameOf(tokens[1]))
    case 'release':
      return control('release', nameOf(tokens[second === 'savepoint' && tokens.length > 2 ? 2 : 1]))
    case 'prepare':
      return second === 'transaction' ? control('prepare', nameOf(tokens[2])) : undefined
    case 'commit':
    case 'end':
      if (second === 'prepared') return control('commitPrepared', nameOf(tokens[2]))
      return control('commit', undefined, chains(tokens))
    case 'rollback':
    case 'abort':
      return rollbackOf(tokens)
    default:
      return undefined
  }
}

function rollbackOf(tokens: readonly Token[]): TransactionControl {
  if (wordOf(tokens[1]) === 'prepared') return control('rollbackPrepared', nameOf(tokens[2]))
  const rest = tokens.slice(afterNoise(tokens))
  if (wordOf(rest[0]) !== 'to') return control('rollback', undefined, chains(tokens))
  return control('rollbackTo', nameOf(rest[wordOf(rest[1]) === 'savepoint' && rest.length > 2 ? 2 : 1]))
}

function chains(tokens: readonly Token[]): boolean {
  const at = afterNoise(tokens)
  return wordOf(tokens[at]) === 'and' && wordOf(tokens[at + 1]) === 'chain'
}

/** Past the first word, and WORK or TRANSACTION behind it. */
function afterNoise(tokens: readonly Token[]): number {
  const second = wordOf(tokens[1])
  return second === 'work' || second === 'transaction' ? 2 : 1
}
