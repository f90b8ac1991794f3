/** Whether callers share the cached object, get a copy each, or share it frozen. */
export type Results = 'share' | 'copy' | 'freeze'

/** An argument as services have it: a date range. */
export interface Range {
  readonly from: Date
  readonly to: Date
}

/** What every cache is opened with, whatever it calls these. */
export interface OpenOptions {
  readonly maxEntries: number
  readonly ttlMs: number
  readonly results: Results
  /** How many ids, from 0, have a key that is made beforehand. */
  readonly prebuilt: number
  readonly load: (id: number) => Promise<unknown>
  readonly loadRange: (range: Range, source: string) => Promise<unknown>
}

/** A cache as a service would hold it. Each member is one way to ask it; the value of an id is the same by each. */
export interface Opened {
  /** By a key that was made beforehand. */
  byKey(id: number): unknown
  /** As a cached function of one id: by what a service would take for its key. */
  byId(id: number): unknown
  /** By a key made in the call that stands for several segments, as text where the cache has nothing else. */
  byText(id: number): unknown
  /** As a cached function of two arguments, its key a template written by hand; absent where nobody would. */
  byTemplate?(range: Range, source: string): unknown
  /** The same by the cache's own way of making keys from arguments, or the one that its documentation shows. */
  byArguments?(range: Range, source: string): unknown
  /** A hit without a promise, where there is such a thing. */
  bySyncKey?(id: number): unknown
  /** Drops what `byId` keeps, by the cache's own means. */
  drop(id: number): unknown
}

/** A way to drop entries together: by a pattern of their keys, or by a name that they were given. */
export interface GroupWay {
  readonly by: 'pattern' | 'tag'
  /** What is called, for the table. */
  readonly how: string
  open(maxEntries: number): OpenGroups
}

/** A cache whose entries belong to groups. */
export interface OpenGroups {
  put(group: number, item: number, value: unknown): unknown
  drop(group: number): unknown
  dropOne?(group: number, item: number): unknown
  /** The value, without loading it; undefined for what is not there. */
  peek(group: number, item: number): unknown
  /** Asks for what is there as a service would; `peek` by default. */
  hit?(group: number, item: number): unknown
}

/** One cache to measure, set up as its maintainers would for memory alone. */
export interface Contender {
  /** How it is set up, for the reader of the figures. */
  readonly setup: string
  /** Whether a hit is done when the call returns, before its promise is awaited. */
  readonly hitsInCall?: true
  /** How `byArguments` makes its keys. */
  readonly ownKey?: string
  /** The modes that it has, each with a remark for the reader, which may be empty. */
  readonly results: Readonly<Partial<Record<Results, string>>>
  open(options: OpenOptions): Opened
  readonly groups: readonly GroupWay[]
}

/** The text keys that peers build, written as one would by hand. */
export const keyOf = {
  summary: (id: number) => `tracker:summary:${id}`,
  pilot: (id: number) => `tracker:pilot:${id}`,
  range: ({ from, to }: Range, source: string) => `tracker:range:${from.getTime()}:${to.getTime()}:${source}`,
  item: (group: number, item: number) => `tracker:pilot:${group}:${item}`,
}

/** `count` things, each made of its number from 0. */
export function each<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}
