import { InvalidArgumentError } from '../core/errors.ts'
import { checkOptions, describe, either, rules } from '../core/validate.ts'
import type { Call } from './engine.ts'
import { parseKey } from './patterns.ts'
import { type FreshnessOptions, freshnessRules, policyOf } from './policy.ts'
import { CacheKey, defaultCache, engineOf, loadOf, policyOfCache, QueryCache } from './query-cache.ts'
import { copyGraph } from './results-copy.ts'
import {
  HOLDS_TRANSACTION,
  isTransactionHandle,
  quickTokenOf,
  type SegmentToken,
  tokenOf,
  type Where,
} from './segments.ts'
import { Anchor, childOf, Scope, type Slot } from './slots.ts'

/** How one function is cached. `Args` are its arguments, `Value` what it resolves to. */
export interface CachedQueryOptions<Args extends unknown[] = unknown[], Value = unknown>
  extends Omit<FreshnessOptions, 'ttlMs'> {
  /** Where the values are kept. Default: the cache of the process, 100 entries and 300 s. */
  readonly cache?: QueryCache | undefined
  /** How long a value counts as fresh, in milliseconds; a function gets the value and the arguments. Default: the cache's. */
  readonly ttlMs?: number | ((value: Value, ...args: Args) => number) | undefined
  /** What the keys begin with, segments joined by `:`; the arguments follow. Default: the function's name. */
  readonly key?: string | undefined
  /** Gives the whole key, as segments; in place of `key` and the arguments. Called with the method's `this`. */
  readonly keyOf?: ((...args: Args) => readonly unknown[]) | undefined
  /** For a decorated method: whether all instances share their entries. Default: each has its own. */
  readonly perClass?: boolean | undefined
  /** Names by which `invalidateTags` finds the value; they may depend on the arguments. */
  readonly tags?: readonly string[] | ((...args: Args) => readonly string[]) | undefined
  /** More such names, which depend on the value. While one is loading, any invalidation by tags counts as its own. */
  readonly resultTags?: ((value: Value, ...args: Args) => readonly string[]) | undefined
  /** The tables that the value is read from, by which `invalidateTables` finds it. */
  readonly tables?: readonly string[] | undefined
  /**
   * Whether the key tells apart who asks, where loads run under another role, search path or setting than their
   * connections have at rest, or read tables with row-level security. Default: the values of such loads are not kept.
   */
  readonly identityInKey?: boolean | undefined
  /** Whether a value is to be kept. Default: each, null and undefined among them. */
  readonly shouldCache?: ((value: Value, ...args: Args) => boolean) | undefined
}

/**
 * A cached function: called as the function itself. An `AbortSignal` among the arguments, or as `signal` of an
 * options object, frees its caller and is no part of the key; the load gets a signal of its own in its place.
 */
export interface CachedFunction<Args extends unknown[], Value> {
  (...args: Args): Promise<Value>
  readonly cache: QueryCache
  /** The key of a call, for the cache's own methods. */
  keyOf(...args: Args): CacheKey
  /** Drops what is kept for a call with these arguments; how many values. */
  invalidate(...args: Args): number
  /** Loads anew, whatever is kept; who calls meanwhile is served with the old value while it is fresh. */
  refresh(...args: Args): Promise<Value>
}

/** Options of whatever function: their callbacks' types are compared with a function when they meet it. */
type OptionsOfAny = CachedQueryOptions<never[], never>

/** Satisfied when the callbacks among the options can be called with these arguments and this value. */
type Fits<Options, Args extends unknown[], Value> =
  Options extends CachedQueryOptions<Args, Value>
    ? unknown
    : { readonly 'the callbacks of cachedQuery take other arguments or another value': Options }

/** Forbids names that are no options, which a type parameter would let through. */
type NoOthers<Options> = { readonly [Name in Exclude<keyof Options, keyof OptionsOfAny>]: never }

/** Caches what it is applied to: wraps a function, or decorates a method, by standard or by legacy decorators. */
export interface CachedQuery<Options> {
  <Args extends unknown[], Value>(
    fn: ((...args: Args) => Promise<Value>) & Fits<Options, Args, Value>,
  ): CachedFunction<Args, Value>
  <This, Args extends unknown[], Value>(
    method: ((this: This, ...args: Args) => Promise<Value>) & Fits<Options, Args, Value>,
    context: ClassMethodDecoratorContext<This, (this: This, ...args: Args) => Promise<Value>>,
  ): (this: This, ...args: Args) => Promise<Value>
  <Args extends unknown[], Value>(
    target: object,
    property: string | symbol,
    descriptor: TypedPropertyDescriptor<((...args: Args) => Promise<Value>) & Fits<Options, Args, Value>>,
  ): void
}

const callbackOr = (rule: typeof rules.texts) => either(rule, rules.function)

const optionRules = {
  ...freshnessRules,
  cache: { expected: 'a query cache', holds: (value: unknown) => value instanceof QueryCache },
  key: rules.text,
  keyOf: rules.function,
  perClass: rules.boolean,
  tags: callbackOr(rules.texts),
  resultTags: rules.function,
  tables: rules.texts,
  identityInKey: rules.boolean,
  shouldCache: rules.function,
}

/**
 * Caches a function's results by its arguments.
 *
 * ```ts
 * const summary = cachedQuery({ cache, key: 'tracker:summary', ttlMs: 30_000 })(loadSummary)
 * ```
 *
 * The function behaves as before: the same results (each caller's its own), the same errors (never wrapped,
 * not kept unless `errorTtlMs` says so). With a transaction among the arguments it is called as it is.
 *
 * @throws InvalidArgumentError for options that cannot be used; and, from a call, for an argument that has no
 *   value of its own (a function, an instance of a class) where there is no `keyOf`
 */
export function cachedQuery<const Options extends OptionsOfAny>(
  options: Options & NoOthers<Options> = {} as Options & NoOthers<Options>,
): CachedQuery<Options> {
  checkOptions<CachedQueryOptions>('cachedQuery', options as unknown as AnyOptions, optionRules)
  if (options.key !== undefined && options.keyOf !== undefined) {
    throw new InvalidArgumentError('cachedQuery', 'give key or keyOf, not both: keyOf gives the whole key')
  }
  const prefix = options.key === undefined ? undefined : parseKey(options.key)
  // The three forms differ in their types only; each is told by what it is called with.
  const apply = (...given: readonly unknown[]): unknown => {
    const [first, second, third] = given
    if (given.length === 1 && typeof first === 'function')
      return wrap(first as Fn, options as unknown as AnyOptions, prefix, false)
    if (typeof first === 'function' && isMethodContext(second)) {
      return wrap(first as Fn, options as unknown as AnyOptions, prefix, true)
    }
    const descriptor = third as PropertyDescriptor | undefined
    if (typeof descriptor?.value === 'function') {
      descriptor.value = wrap(descriptor.value as Fn, options as unknown as AnyOptions, prefix, true)
      return undefined
    }
    throw new InvalidArgumentError(
      'cachedQuery',
      `wraps a function or decorates a method, got ${given.map(describe).join(', ')}`,
    )
  }
  return apply as CachedQuery<Options>
}

type Fn = (this: unknown, ...args: unknown[]) => unknown
/** Within, arguments are unknown: what they are is the business of the callbacks' author. */
type AnyOptions = CachedQueryOptions<unknown[], unknown>

function isMethodContext(context: unknown): boolean {
  return typeof context === 'object' && context !== null && 'kind' in context && context.kind === 'method'
}

function wrap(fn: Fn, options: AnyOptions, prefix: readonly string[] | undefined, isMethod: boolean): Fn {
  const cache = options.cache ?? defaultCache()
  const engine = engineOf(cache)
  const { keyOf, tags, tables, resultTags, shouldCache, identityInKey, ttlMs } = options
  const base: SegmentToken[] =
    keyOf === undefined ? ownPrefix(cache, prefix ?? [fn.name || 'anonymous'], prefix !== undefined) : []
  const isScoped = isMethod && options.perClass !== true && keyOf === undefined
  const policy = policyOf(
    { ...options, ttlMs: typeof ttlMs === 'number' ? ttlMs : undefined },
    policyOfCache(cache),
  )

  /** All keys of this function lie below it. */
  const anchor = new Anchor()

  /** The slot of a call whose key can be made at once, as those of most hits can. */
  function quickFind(self: unknown, args: readonly unknown[]): Slot | undefined {
    if (keyOf !== undefined && hasObject(args)) return undefined // there may be a signal or a transaction among them
    const segments = keyOf === undefined ? args : segmentsOf(keyOf, self, args)
    const length = keyOf === undefined ? givenLength(args) : segments.length
    let slot = anchor.slot ?? engine.store.index.hold(anchor, base)
    if (slot !== undefined && isScoped && isObject(self)) slot = childOf(slot, scopeOf(self))
    for (let i = 0; slot !== undefined && i < length; i++) slot = childOf(slot, quickTokenOf(segments[i]))
    return slot
  }

  function tokensOf(self: unknown, args: readonly unknown[]): SegmentToken[] {
    const tokens = isScoped && isObject(self) ? [...base, scopeOf(self)] : [...base]
    const segments = keyOf === undefined ? args.slice(0, givenLength(args)) : segmentsOf(keyOf, self, args)
    const wheres = keyOf === undefined ? argumentNames : segmentNames
    for (let i = 0; i < segments.length; i++) tokens.push(tokenOf(segments[i], whereOf(wheres, i)))
    return tokens
  }

  /** A call with its key; a signal among the arguments is taken out of the key and put into the load. */
  function callOf(self: unknown, args: unknown[]): Call {
    const place = hasObject(args) ? inspect(args) : undefined
    let own = args
    return {
      tokens: tokensOf(self, place?.otherArgs ?? args),
      signal: place?.signal,
      load: loadOf(
        typeof ttlMs === 'function' ? { ...policy, ttlMs: (value) => ttlMs(value, ...own) } : policy,
        (signal) => fn.apply(self, place === undefined ? own : place.replacedBy(signal(), own)),
        {
          tags: typeof tags === 'function' ? tags.apply(self as undefined, args) : tags,
          tables,
          identityInKey,
          resultTags: resultTags && ((value) => resultTags(value, ...own)),
          shouldCache: shouldCache && ((value) => shouldCache(value, ...own)),
          // With keyOf they may be anything, and as large; without, they are values, and stay what the key says.
          detach:
            keyOf === undefined && hasObject(args)
              ? () => {
                  own = copyGraph(args) as unknown[]
                }
              : undefined,
        },
      ),
    }
  }

  function cached(this: unknown, ...args: unknown[]): unknown {
    try {
      const slot = quickFind(this, args)
      if (slot === undefined || !engine.isFresh(slot)) return engine.get(callOf(this, args))
      if (policy.refreshAheadRatio !== undefined && engine.isDueForRefresh(slot, policy)) {
        engine.refreshInBackground(callOf(this, args))
      }
      return engine.hit(slot)
    } catch (error) {
      if (error === HOLDS_TRANSACTION) return engine.bypass(() => fn.apply(this, args))
      return Promise.reject(error)
    }
  }

  const ofCall = {
    keyOf(...args: unknown[]) {
      try {
        // Where keyOf is given, it says what counts of a transaction, too.
        const place = hasObject(args) ? inspect(args, keyOf === undefined) : undefined
        return new CacheKey(tokensOf(undefined, place?.otherArgs ?? args))
      } catch (error) {
        if (error !== HOLDS_TRANSACTION) throw error
        throw new InvalidArgumentError(
          'cachedQuery',
          'a call with a transaction goes past the cache and has no key; give the Kysely or Pool that other calls are made with',
        )
      }
    },
    invalidate(...args: unknown[]) {
      return cache.invalidate(ofCall.keyOf(...args))
    },
    async refresh(...args: unknown[]) {
      try {
        return engine.refresh(callOf(undefined, args))
      } catch (error) {
        if (error === HOLDS_TRANSACTION) return engine.bypass(() => fn.apply(undefined, args))
        throw error
      }
    },
  }
  Object.defineProperty(cached, 'name', { value: fn.name, configurable: true })
  Object.defineProperty(cached, 'length', { value: fn.length, configurable: true })
  return Object.assign(cached, ofCall, { cache })
}

function segmentsOf(
  keyOf: NonNullable<AnyOptions['keyOf']>,
  self: unknown,
  args: readonly unknown[],
): readonly unknown[] {
  const segments: unknown = keyOf.apply(self as undefined, args as unknown[])
  if (Array.isArray(segments) && segments.length > 0) return segments
  throw new InvalidArgumentError(
    'cachedQuery',
    `keyOf must return an array of segments, at least one, got ${describe(segments)}`,
  )
}

/** Trailing undefined is no argument. */
function givenLength(args: readonly unknown[]): number {
  let { length } = args
  while (length > 0 && args[length - 1] === undefined) length -= 1
  return length
}

const argumentNames: Where[] = []
const segmentNames: Where[] = []

function whereOf(names: Where[], i: number): Where {
  let where = names[i]
  if (where === undefined) {
    const name = names === argumentNames ? `argument ${i + 1}` : `segment ${i + 1} from keyOf`
    where = () => ({ primitive: 'cachedQuery', name })
    names[i] = where
  }
  return where
}

const isObject = (value: unknown): value is object =>
  (typeof value === 'object' && value !== null) || typeof value === 'function'

const scopes = new WeakMap<object, Scope>()

/** The scope of an instance, or of the class of a static method. */
function scopeOf(self: object): Scope {
  let scope = scopes.get(self)
  if (scope === undefined) {
    scope = new Scope('instance')
    scopes.set(self, scope)
  }
  return scope
}

const takenPrefixes = new WeakMap<QueryCache, Set<string>>()

/**
 * What a function's keys begin with. Two functions that begin alike would answer for one another, so the
 * second one's entries are kept apart by a scope; patterns find both.
 */
function ownPrefix(cache: QueryCache, prefix: readonly string[], chosen: boolean): SegmentToken[] {
  const tokens: SegmentToken[] = prefix.map((segment) => tokenOf(segment, whereOf(segmentNames, 0)))
  const taken = takenPrefixes.get(cache) ?? new Set()
  takenPrefixes.set(cache, taken)
  const name = JSON.stringify(prefix)
  if (!taken.has(name)) {
    taken.add(name)
    return tokens
  }
  if (chosen) {
    process.emitWarning(
      `cachedQuery: more than one function has the key ${describe(prefix.join(':'))} in the cache "${cache.name}"; ` +
        'their entries are kept apart. Wrap a function once, or give keyOf to share entries.',
      { code: 'MILLRACE_KEY_TAKEN' },
    )
  }
  return [...tokens, new Scope('function')]
}

function hasObject(args: readonly unknown[]): boolean {
  for (let i = 0; i < args.length; i++) if (typeof args[i] === 'object' && args[i] !== null) return true
  return false
}

/** An `AbortSignal` found among the arguments. */
interface SignalPlace {
  readonly signal: AbortSignal
  /** The arguments as the key has them. */
  readonly otherArgs: readonly unknown[]
  /** These arguments, the same or copies, with another signal in its place. */
  replacedBy(signal: AbortSignal, args: readonly unknown[]): unknown[]
}

/**
 * Looks for an AbortSignal among the arguments.
 *
 * @throws HOLDS_TRANSACTION where there is a transaction, unless one may be there
 */
function inspect(args: readonly unknown[], refusesTransactions = true): SignalPlace | undefined {
  let place: SignalPlace | undefined
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (typeof arg !== 'object' || arg === null) continue
    const prototype: unknown = Object.getPrototypeOf(arg)
    if (prototype === Object.prototype) {
      const { signal } = arg as { signal?: unknown }
      if (signal instanceof AbortSignal) place ??= placeOf(args, i, signal, true)
    } else if (prototype === Date.prototype || prototype === Array.prototype) continue
    else if (arg instanceof AbortSignal) place ??= placeOf(args, i, arg, false)
    else if (refusesTransactions && isTransactionHandle(arg)) throw HOLDS_TRANSACTION
  }
  return place
}

function placeOf(args: readonly unknown[], i: number, signal: AbortSignal, inOptions: boolean): SignalPlace {
  const { signal: _, ...rest } = inOptions ? (args[i] as Record<string, unknown>) : {}
  // An options object with nothing but the signal is, for the key, as if it were not there.
  const remaining = Object.keys(rest).length === 0 ? undefined : rest
  return {
    signal,
    otherArgs: args.with(i, remaining),
    replacedBy: (other, own) =>
      own.with(i, inOptions ? { ...(own[i] as Record<string, unknown>), signal: other } : other),
  }
}
