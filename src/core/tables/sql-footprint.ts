import { type Token, Tokens } from '../seam/sql-tokens.ts'
import { type Footprint, FootprintBuilder, type TableName, type WriteAction } from './footprint.ts'

/**
 * What a text of SQL may touch. Nothing is parsed beyond tokens: a statement cannot read a table without naming
 * it, so the tables that it reads are among its words; what it writes stands behind INSERT INTO, UPDATE, DELETE
 * FROM and the like.
 */
export function footprintOfSql(text: string): Footprint {
  const into = new FootprintBuilder()
  for (const command of commandsOf(tokensOf(text))) readCommand(command, into)
  return into.build()
}

/** What the body of a function may touch, in SQL or PL/pgSQL. */
export function footprintOfBody(body: string): Footprint {
  const into = new FootprintBuilder()
  const tokens = tokensOf(body)
  readTokens(tokens, into)
  for (const [at, token] of tokens.entries()) {
    const word = wordOf(token)
    if (word === 'execute') into.unknown('it executes SQL that is made at run time')
    else if (notInBodies.has(word) && !isSymbol(tokens[at - 1], '.'))
      into.unknown(`there is ${word.toUpperCase()} in it`)
  }
  return into.build()
}

/** What a piece of SQL inside a larger statement may touch. */
export function readFragment(text: string, into: FootprintBuilder): void {
  readTokens(tokensOf(text), into)
}

/** In a function's body these change the schema, or what cannot be followed. */
const notInBodies = new Set([
  'create',
  'alter',
  'drop',
  'truncate',
  'refresh',
  'copy',
  'call',
  'set_config',
  'discard',
])

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  const source = new Tokens(text)
  for (let token = source.next(); token !== undefined; token = source.next()) tokens.push(token)
  return tokens
}

function commandsOf(tokens: readonly Token[]): Token[][] {
  const commands: Token[][] = [[]]
  for (const token of tokens) {
    if (isSymbol(token, ';')) commands.push([])
    else commands.at(-1)?.push(token)
  }
  return commands.filter((command) => command.length > 0)
}

function readCommand(tokens: readonly Token[], into: FootprintBuilder): void {
  const at = tokens.findIndex((token) => !isSymbol(token, '('))
  const first = wordOf(tokens[at])
  const second = wordOf(tokens[at + 1])
  if (inert.has(first)) return
  switch (first) {
    case 'select':
    case 'with':
    case 'values':
    case 'table':
    case 'explain':
    case 'declare':
      readTokens(tokens, into)
      if (first !== 'explain' && selectsInto(tokens)) changeSchema(tokens, into)
      return
    case 'insert':
    case 'update':
    case 'delete':
    case 'merge':
      readTokens(tokens, into)
      return
    case 'set':
    case 'reset':
      readSetting(tokens, into)
      return
    case 'discard':
      into.settings.push({ name: 'all', local: false })
      return
    case 'truncate':
      readTruncate(tokens, into)
      return
    case 'copy':
      readCopy(tokens, into)
      return
    case 'refresh': {
      const named = nameAt(tokens, wordOf(tokens[3]) === 'concurrently' ? 4 : 3)
      if (named === undefined) into.unknownWrite('REFRESH of what could not be read')
      else into.write(named, ['truncate'])
      return
    }
    case 'do':
      into.runsProcedure = true
      // The body is a string; what stands in it is read as that of a function.
      for (const { kind, text } of tokens) if (kind === 'string') merge(footprintOfBody(text), into)
      return
    case 'call':
      into.runsProcedure = true
      readTokens(tokens, into)
      return
    case 'create':
      if (second === 'index' || (second === 'unique' && wordOf(tokens[2]) === 'index')) return
      changeSchema(tokens, into)
      return
    case 'drop':
      if (second !== 'index') into.changesSchema = true
      return
    case 'alter':
    case 'import':
    case 'security':
    case 'grant':
    case 'revoke':
      into.changesSchema = true
      return
    default:
      into.unknown(
        `${first === '' ? 'a statement that has no first word' : first.toUpperCase()} does not say what it touches`,
      )
  }
}

/** Neither reads tables nor writes them, nor changes what they are. */
const inert = new Set([
  'begin', 'start', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release', 'prepare', 'deallocate', 'show',
  'listen', 'unlisten', 'notify', 'lock', 'checkpoint', 'analyze', 'vacuum', 'cluster', 'reindex', 'close', 'move',
  'comment',
]) // biome-ignore format: a list of words

function changeSchema(tokens: readonly Token[], into: FootprintBuilder): void {
  const at = tokens.findIndex((token) => temporaryWords.has(wordOf(token)))
  if (at === -1) {
    into.changesSchema = true
    return
  }
  // create [global | local] temp table [if not exists] name; select ... into temp [table] name; create temp view name
  let next = at + 1
  while (beforeTheName.has(wordOf(tokens[next]))) next += 1
  const named = nameAt(tokens, next)
  if (named === undefined) into.changesSchema = true
  else into.temporary.push(named.name)
  readTokens(tokens.slice(next), into)
}

const temporaryWords = new Set(['temp', 'temporary'])
const beforeTheName = new Set(['table', 'view', 'sequence', 'recursive', 'if', 'not', 'exists'])

/** SELECT ... INTO makes a table; INTO also stands in INSERT and MERGE. */
function selectsInto(tokens: readonly Token[]): boolean {
  return tokens.some((token, at) => wordOf(token) === 'into' && !followsWrite.has(wordOf(tokens[at - 1])))
}

const followsWrite = new Set(['insert', 'merge'])

function readSetting(tokens: readonly Token[], into: FootprintBuilder): void {
  const scope = wordOf(tokens[1])
  const local = scope === 'local'
  const at = local || (scope === 'session' && wordOf(tokens[2]) !== 'authorization') ? 2 : 1
  const word = wordOf(tokens[at])
  if (word === 'transaction' && wordOf(tokens[at + 1]) === 'snapshot') into.importsSnapshot = true
  if (word === 'transaction' || word === 'constraints' || word === 'characteristics') return
  const named = nameAt(tokens, at)
  let name =
    named === undefined ? '*' : [named.schema, named.name].filter((part) => part !== undefined).join('.')
  if (word === 'time') name = 'timezone'
  if (word === 'schema') name = 'search_path'
  if (word === 'session') name = 'session_authorization'
  if (word === 'names') name = 'client_encoding'
  into.settings.push({ name: name.toLowerCase(), local })
}

function readTruncate(tokens: readonly Token[], into: FootprintBuilder): void {
  for (let at = 1; at < tokens.length; at += 1) {
    while (wordOf(tokens[at]) === 'table' || wordOf(tokens[at]) === 'only') at += 1
    const named = nameAt(tokens, at)
    if (named === undefined) {
      into.unknownWrite('TRUNCATE of what could not be read')
      return
    }
    into.write(named, ['truncate'])
    while (at < tokens.length && !isSymbol(tokens[at], ',')) at += 1
  }
}

/** COPY t FROM writes; COPY t TO and COPY (query) TO read. */
function readCopy(tokens: readonly Token[], into: FootprintBuilder): void {
  if (isSymbol(tokens[1], '(')) {
    readTokens(tokens, into)
    return
  }
  const named = nameAt(tokens, 1)
  if (named === undefined) {
    into.unknown('COPY of what could not be read')
    return
  }
  if (tokens.some((token) => wordOf(token) === 'from')) into.write(named, ['insert'])
  else into.read(named)
}

/** What stands in tokens wherever they are: words, and the targets of writes. */
function readTokens(tokens: readonly Token[], into: FootprintBuilder): void {
  for (const [at, token] of tokens.entries()) {
    const name = identifierOf(token)
    if (name === undefined) continue
    into.words.add(name)
    if (token.kind === 'quoted') continue
    if (name.length > 63 || Buffer.byteLength(name) > 63)
      into.unknown('a name is longer than PostgreSQL keeps')
    if (name === 'u' && isSymbol(tokens[at + 1], '&')) into.unknown('a name is written with U&')
    if (name === 'set_config') into.settings.push({ name: settingOf(tokens, at), local: isLocal(tokens, at) })
    if (runsText.has(name)) into.unknownRead(`${name} runs SQL that is given as text`)
    if (elsewhere.has(name)) into.unknown(`${name} runs SQL on another connection`)
    readWrite(tokens, at, name, into)
  }
}

/** Built in or of well-known extensions: they read what their arguments say. */
const runsText = new Set([
  'query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', 'cursor_to_xml', 'cursor_to_xmlschema',
  'table_to_xml', 'table_to_xmlschema', 'table_to_xml_and_xmlschema', 'schema_to_xml', 'schema_to_xmlschema',
  'schema_to_xml_and_xmlschema', 'database_to_xml', 'database_to_xmlschema', 'database_to_xml_and_xmlschema',
  'ts_stat', 'ts_rewrite', 'crosstab', 'crosstab2', 'crosstab3', 'crosstab4', 'crosstabn', 'connectby', 'xpath_table',
  'lo_get', 'loread', 'lo_export',
]) // biome-ignore format: a list of words

const elsewhere = new Set(['dblink', 'dblink_exec', 'dblink_send_query', 'dblink_fetch', 'dblink_get_result'])

function readWrite(tokens: readonly Token[], at: number, word: string, into: FootprintBuilder): void {
  const before = wordOf(tokens[at - 1])
  const after = wordOf(tokens[at + 1])
  let target = -1
  let actions: readonly WriteAction[] = []
  if (word === 'insert' && after === 'into') {
    target = at + 2
    actions = tokens.some((token, i) => wordOf(token) === 'do' && wordOf(tokens[i + 1]) === 'update')
      ? ['insert', 'update']
      : ['insert']
  } else if (
    word === 'update' &&
    after !== 'set' &&
    !beforeNoTarget.has(before) &&
    !isSymbol(tokens[at - 1], '.')
  ) {
    target = at + 1
    actions = ['update']
  } else if (word === 'delete' && after === 'from') {
    target = at + 2
    actions = ['delete']
  } else if (word === 'merge' && after === 'into') {
    target = at + 2
    actions = ['insert', 'update', 'delete']
  } else return
  if (wordOf(tokens[target]) === 'only') target += 1
  const named = nameAt(tokens, target)
  if (named === undefined) into.unknownWrite(`what stands behind ${word.toUpperCase()} could not be read`)
  else into.write(named, actions, actions[0] === 'update' ? columnsSetAt(tokens, target) : undefined)
}

/** FOR UPDATE, FOR NO KEY UPDATE, ON UPDATE. DO UPDATE SET and THEN UPDATE SET, of INSERT and MERGE, name no table. */
const beforeNoTarget = new Set(['for', 'key', 'on'])

/** The columns between SET and what follows; `undefined` where that is not plain. */
function columnsSetAt(tokens: readonly Token[], target: number): string[] | undefined {
  let at = target
  while (at < tokens.length && wordOf(tokens[at]) !== 'set') at += 1
  const columns: string[] = []
  let depth = 0
  let atStart = true
  for (at += 1; at < tokens.length; at += 1) {
    const token = tokens[at]
    if (depth === 0 && behindSet.has(wordOf(token))) break
    if (isSymbol(token, ')')) depth -= 1
    if (depth < 0) break
    if (atStart && isSymbol(token, '(')) {
      // (a, b) = ...
      for (at += 1; at < tokens.length && !isSymbol(tokens[at], ')'); at += 1) {
        const column = identifierOf(tokens[at])
        if (column !== undefined) columns.push(column)
      }
    } else if (atStart) {
      const column = identifierOf(token)
      if (column === undefined) return undefined
      columns.push(column)
    } else if (isSymbol(token, '(')) depth += 1
    atStart = depth === 0 && isSymbol(token, ',')
  }
  return columns.length === 0 ? undefined : columns
}

const behindSet = new Set(['from', 'where', 'returning'])

/** `a`, `a.b` or `a.b.c`; of the last the database is the own one. */
function nameAt(tokens: readonly Token[], at: number): TableName | undefined {
  const parts: string[] = []
  for (let next = at; ; next += 2) {
    const part = identifierOf(tokens[next])
    if (part === undefined) return undefined
    parts.push(part)
    if (!isSymbol(tokens[next + 1], '.')) break
  }
  return { schema: parts.at(-2), name: parts.at(-1) as string }
}

/** Of `set_config('name', value, is_local)`. */
function settingOf(tokens: readonly Token[], at: number): string {
  const name = tokens[at + 2]
  return name?.kind === 'string' ? name.text.toLowerCase() : '*'
}

function isLocal(tokens: readonly Token[], at: number): boolean {
  const rest = tokens.slice(at)
  const end = rest.findIndex((token) => isSymbol(token, ')'))
  return wordOf(rest[end - 1]) === 'true'
}

function merge(from: Footprint, into: FootprintBuilder): void {
  for (const table of from.reads) into.read(table)
  for (const { table, actions, columns } of from.writes) into.write(table, actions, columns)
  for (const word of from.words) into.words.add(word)
  for (const call of from.calls) into.calls.add(call)
  for (const reason of from.unknownReads) into.unknownRead(reason)
  for (const reason of from.unknownWrites) into.unknownWrite(reason)
}

const isSymbol = (token: Token | undefined, text: string): boolean =>
  token?.kind === 'symbol' && token.text === text

/** PostgreSQL folds the letters of ASCII, and leaves others as they are. */
const folded = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

const wordOf = (token: Token | undefined): string => (token?.kind === 'word' ? folded(token.text) : '')

function identifierOf(token: Token | undefined): string | undefined {
  if (token?.kind === 'word') return folded(token.text)
  return token?.kind === 'quoted' ? token.text : undefined
}
