import { LRUCache } from 'lru-cache'
import { Dependents } from './dependencies.ts'
import type { Policy } from './policy.ts'
import type { Kept } from './results.ts'
import { type Slot, SlotIndex } from './slots.ts'

/** A value on its way into the store. */
export interface Storable extends Kept {
  readonly policy: Policy
  readonly storedAt: number
  readonly expiresAt: number
  readonly dependencies: readonly string[] | undefined
  /** Counts only where the store is bounded in bytes. */
  readonly bytes: number
}

/** The bounds of a store. */
export interface StoreOptions {
  readonly maxEntries: number
  readonly maxBytes: number | undefined
  readonly onEvict: (slot: Slot) => void
}

/**
 * The values of a cache: lru-cache bounds them and decides what is evicted, the index finds them by segments,
 * and a third list by what they depend on. A value is in all three or in none.
 */
export class Store {
  readonly index = new SlotIndex()
  readonly dependents = new Dependents()
  readonly #entries: LRUCache<Slot, Slot>
  readonly #maxBytes: number | undefined

  constructor({ maxEntries, maxBytes, onEvict }: StoreOptions) {
    this.#maxBytes = maxBytes
    this.#entries = new LRUCache<Slot, Slot>({
      max: maxEntries,
      ...(maxBytes === undefined ? {} : { maxSize: maxBytes }),
      dispose: (slot, _key, reason) => {
        if (reason !== 'set') this.#vacate(slot) // else it is the same slot with a newer value
      },
      // Not before lru-cache is done with what it does: a listener may call the cache.
      disposeAfter: (slot, _key, reason) => {
        if (reason === 'evict') onEvict(slot)
      },
    })
  }

  get size(): number {
    return this.#entries.size
  }

  /** The sum of what was said of the values' sizes; 0 where the store is not bounded in bytes. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }

  /** Marks a slot's value as the most recently used. */
  touch(slot: Slot): void {
    this.#entries.get(slot)
  }

  /** Keeps a value in its slot, in place of what was there; false where it is larger than the whole store may be. */
  put(slot: Slot, value: Storable): boolean {
    this.#forgetDependencies(slot)
    if (this.#maxBytes !== undefined && value.bytes > this.#maxBytes) {
      this.remove(slot)
      return false
    }
    slot.policy = value.policy
    slot.master = value.master
    slot.give = value.give
    slot.storedAt = value.storedAt
    slot.expiresAt = value.expiresAt
    slot.hits = 0
    slot.dependencies = value.dependencies
    if (value.dependencies !== undefined) this.dependents.add(slot, value.dependencies)
    this.#entries.set(
      slot,
      slot,
      this.#maxBytes === undefined ? undefined : { size: Math.max(1, value.bytes) },
    )
    return true
  }

  /** Drops a slot's value; false where there was none. */
  remove(slot: Slot): boolean {
    return this.#entries.delete(slot)
  }

  /** Drops every value. */
  clear(): void {
    this.#entries.clear()
  }

  #vacate(slot: Slot): void {
    this.#forgetDependencies(slot)
    slot.policy = undefined
    slot.master = undefined
    slot.give = undefined
    this.index.prune(slot)
  }

  #forgetDependencies(slot: Slot): void {
    if (slot.dependencies === undefined) return
    this.dependents.remove(slot, slot.dependencies)
    slot.dependencies = undefined
  }
}
