import type { TimerHandle } from '../core/clock.ts'
import { isConcerned, type TableChange, tableOf } from './dependencies.ts'
import type { Policy } from './policy.ts'
import type { Kept } from './results.ts'
import type { Slot } from './slots.ts'

/** What a load is made of. */
export interface Load {
  readonly policy: Policy
  /** The work; the signal is made when it is asked for, and aborted when nobody waits any more. */
  readonly run: (signal: () => AbortSignal) => unknown
  /** Called when it is certain that the work will be done, be it later: what it is given stays as it is now. */
  readonly detach: (() => void) | undefined
  /** What the value will depend on, as far as that is known before it is loaded. */
  readonly dependencies: readonly string[]
  /** What else it turns out to depend on. Until then it may depend on any tag. */
  readonly dependenciesOf: ((value: unknown) => readonly string[]) | undefined
  readonly shouldCache: ((value: unknown) => boolean) | undefined
  /** Whether the key tells apart who asks, so that the role and settings of the session need not. */
  readonly identityInKey: boolean
}

/** What a load brought, for those who wait. */
export interface Landing {
  readonly value: unknown
  /** How it is given to those who joined; undefined where nobody did and nothing was stored. */
  readonly kept: Kept | undefined
  /** Whether it is for all who wait, and not only for who began the load. */
  readonly shared: boolean
}

/**
 * One load of one key and those who wait for it. It is *the* load of its key as long as `slot.flight` is this
 * one; an invalidation takes it off (`fence`), and from then on nobody joins it and nothing is stored of it.
 */
export class Flight {
  readonly slot: Slot
  readonly load: Load
  /** A refresh, which goes on though nobody waits for it. */
  readonly background: boolean
  readonly landing: Promise<Landing>
  /** How many wait; those that a signal freed are not among them. */
  waiters = 0
  /** Whether the work has begun, so that it may have read what an invalidation makes old. */
  started = false
  /** Whether those who wait have been answered; the work itself may still go on after a timeout. */
  settled = false
  startedAt = 0
  timer: TimerHandle | undefined = undefined
  /** Gives its place among the loads to another, while it goes on; only of a load that has one. */
  leavePlace: (() => void) | undefined = undefined
  /** The loads that this one waits for, where there are any: most loads have none, and a set costs a tenth of a miss, */
  #waitsFor: Set<Flight> | undefined
  /** and those that wait for it, as a part of them. */
  #outer: Set<Flight> | undefined
  /** What the value depends on, as far as that is known. */
  #dependencies: Set<string> | undefined
  /** When the oldest of the cached values that this load has read was stored. */
  oldestRead = Number.POSITIVE_INFINITY
  resolve!: (landing: Landing) => void
  reject!: (error: unknown) => void
  /** Whether its value may be stored, as far as the statements that it has sent say. */
  keeps = true
  /** Whether those who wait may all have its value. */
  shared = true
  #fenced = false
  #controller: AbortController | undefined

  constructor(slot: Slot, load: Load, background: boolean) {
    this.slot = slot
    this.load = load
    this.background = background
    this.dependOn(load.dependencies)
    this.landing = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.landing.catch(() => {}) // each waiter hears of it; where nobody waits, it is nobody's
  }

  /** Aborted when nobody waits any more, or the load's time is up. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  /** Whether callers of the key join this load and its value will be stored. */
  get isCurrent(): boolean {
    return this.slot.flight === this
  }

  /**
   * From now on nobody joins, and nothing is stored; nor of the loads that wait for this one. A load that has
   * not begun is not concerned: it will read what is new.
   */
  fence(): void {
    // Once: since then it is off its slot, and nobody has come to wait for it.
    if (!this.started || this.settled || this.#fenced) return
    this.#fenced = true
    if (this.isCurrent) this.slot.flight = undefined
    for (const outer of this.#outer ?? []) outer.fence()
  }

  /** Nothing is stored of it, nor of the loads that it is part of; they answer those who wait. */
  dropWhenDone(): void {
    if (!this.keeps) return
    this.keeps = false
    for (const outer of this.#outer ?? []) outer.dropWhenDone()
  }

  /**
   * Its value is for who began it alone, and so is that of the loads that it is part of; the others load for
   * themselves.
   *
   * @param byIdentity whether that is for who asked, which the key may tell
   */
  unshare(byIdentity: boolean): void {
    if (!this.shared || (byIdentity && this.load.identityInKey)) return
    this.shared = false
    this.keeps = false
    if (this.isCurrent) this.slot.flight = undefined
    for (const outer of this.#outer ?? []) outer.unshare(byIdentity)
  }

  /** What the value depends on, as far as that is known; undefined for nothing. */
  get dependencies(): readonly string[] | undefined {
    return this.#dependencies === undefined ? undefined : [...this.#dependencies]
  }

  /** Adds what the value turned out to depend on. */
  dependOn(dependencies: Iterable<string>): void {
    for (const dependency of dependencies) {
      this.#dependencies ??= new Set()
      this.#dependencies.add(dependency)
    }
  }

  /** Whether a change of this, known before the load has ended, concerns it. */
  mayDependOn(dependency: string): boolean {
    return this.load.dependenciesOf !== undefined || this.#dependencies?.has(dependency) === true
  }

  /** Whether a change of a table concerns it. */
  mayRead(change: TableChange): boolean {
    for (const dependency of this.#dependencies ?? []) if (isConcerned(dependency, change)) return true
    return false
  }

  /** Whether it is known to read tables, be it of which nobody knows. */
  get readsTables(): boolean {
    for (const dependency of this.#dependencies ?? []) if (tableOf(dependency) !== undefined) return true
    return false
  }

  /** Takes over what a cached value that the load has read depends on, and its age. */
  absorb(dependencies: Iterable<string>, storedAt: number): void {
    this.dependOn(dependencies)
    this.oldestRead = Math.min(this.oldestRead, storedAt)
  }

  /** Makes this load a part of that one, which waits for it. */
  isPartOf(outer: Flight): void {
    outer.#waitsFor ??= new Set()
    outer.#waitsFor.add(this)
    this.#outer ??= new Set()
    this.#outer.add(outer)
    if (!this.keeps && this.shared) outer.dropWhenDone()
  }

  /** Tells the loads that wait for this one what its value depends on, before anybody can invalidate that. */
  handOutward(overtaken: boolean): void {
    for (const outer of this.#outer ?? []) {
      outer.absorb(this.#dependencies ?? [], this.oldestRead)
      if (overtaken) outer.fence()
    }
  }

  /** Lets go of the loads around it. */
  leaveOthers(): void {
    for (const inner of this.#waitsFor ?? []) inner.#outer?.delete(this)
    for (const outer of this.#outer ?? []) outer.#waitsFor?.delete(this)
    this.#waitsFor = undefined
    this.#outer = undefined
  }

  /** Whether this load waits, directly or through others, for that one. */
  isWaitingFor(other: Flight): boolean {
    const seen = new Set<Flight>([this])
    for (const flight of seen) {
      if (flight === other) return true
      for (const next of flight.#waitsFor ?? []) seen.add(next)
    }
    return false
  }

  abort(reason: unknown): void {
    this.#controller?.abort(reason)
  }
}
