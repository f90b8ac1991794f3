import type { Flight } from './flight.ts'
import type { Pattern, PatternStep } from './patterns.ts'
import type { Policy } from './policy.ts'
import type { Give } from './results.ts'
import { Identity, type SegmentToken, textOf, tokensOfText } from './segments.ts'

/**
 * A key's place in the index, and what is kept there: one object for both, since there is one for each entry
 * and its size is the cache's. A slot is in the index as long as it holds a value, a load or other slots.
 */
export class Slot {
  readonly parent: Slot | undefined
  readonly token: SegmentToken
  /** The slots below, by the next segment; one alone stands here without a map. */
  children: Slot | Map<SegmentToken, Slot> | undefined = undefined
  /** The load that callers of this key join. */
  flight: Flight | undefined = undefined

  /** What the kept value was loaded under; undefined where no value is kept. */
  policy: Policy | undefined = undefined
  master: unknown = undefined
  give: Give = undefined
  storedAt = 0
  expiresAt = 0
  /** Hits since it was stored. */
  hits = 0
  /** Loads since the slot was made. */
  loads = 0
  /** What it depends on: `tag` and `table` names, see `dependencies.ts`. */
  dependencies: readonly string[] | undefined = undefined

  constructor(parent: Slot | undefined, token: SegmentToken) {
    this.parent = parent
    this.token = token
  }
}

/** Marks a slot that keeps apart the entries of one instance or function: patterns and segments look through it. */
export class Scope extends Identity {}

/** Remembers a slot for who looks below it again and again; empty while that is not in the index. */
export class Anchor {
  slot: Slot | undefined = undefined
}

/** The slot below this one by the next segment, if there is one. */
export function childOf(slot: Slot, token: SegmentToken): Slot | undefined {
  const { children } = slot
  if (children === undefined) return undefined
  if (children instanceof Slot) return sameToken(children.token, token) ? children : undefined
  return children.get(token)
}

/** As a `Map` compares, so that a lone child is found just as one among many. */
function sameToken(a: SegmentToken, b: SegmentToken): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b))
}

function* childrenOf({ children }: Slot): Iterable<Slot> {
  if (children instanceof Slot) yield children
  else if (children !== undefined) yield* children.values()
}

/** The segments of a slot's key, without scopes. */
export function tokensOf(slot: Slot): SegmentToken[] {
  const tokens: SegmentToken[] = []
  for (let at = slot; at.parent !== undefined; at = at.parent)
    if (!(at.token instanceof Scope)) tokens.push(at.token)
  return tokens.reverse()
}

/** A key as text, for people: segments joined by `:`. Two keys may have the same text. */
export function keyTextOf(slot: Slot): string {
  return tokensOf(slot).map(textOf).join(':')
}

/** How many slots a pattern may look at in vain before the second index is asked; four times more each time. */
const FIRST_BUDGET = 1_024

/**
 * The slots of a cache, indexed by segment: a tree, so that a pattern costs what it matches. The tree alone
 * cannot do that for a literal behind a `*` (`tracker:*:flights`), for which every slot of the `*`'s level
 * is looked at; where those are many, a second index of the literal's level is built once and kept up from
 * then on, and the cheaper of the two is taken.
 */
export class SlotIndex {
  readonly root = new Slot(undefined, undefined)
  /** By level (of segments, the first is 0) and text: only levels that a pattern has asked for. */
  readonly #levels = new Map<number, Map<string, Set<Slot>>>()
  /** The scopes right below a slot. */
  readonly #scopes = new Map<Slot, Set<Slot>>()
  /** Those that remember a slot, by the slot. */
  readonly #anchors = new Map<Slot, Anchor>()

  /** The slot of a key, if it is in the index. */
  find(tokens: readonly SegmentToken[]): Slot | undefined {
    let slot: Slot | undefined = this.root
    for (let i = 0; slot !== undefined && i < tokens.length; i++) slot = childOf(slot, tokens[i])
    return slot
  }

  /** The slot of a key, for an anchor of its own to remember; the root is found as fast without. */
  hold(anchor: Anchor, tokens: readonly SegmentToken[]): Slot | undefined {
    const slot = this.find(tokens)
    if (slot === undefined || slot === this.root) return slot
    anchor.slot = slot
    this.#anchors.set(slot, anchor)
    return slot
  }

  /** The slot of a key below `from`, made where it is missing. */
  ensure(tokens: readonly SegmentToken[], from: Slot = this.root): Slot {
    let slot = from
    for (const token of tokens) slot = childOf(slot, token) ?? this.#add(slot, token)
    return slot
  }

  /** Takes a slot out of the index, and those above it, where nothing is left in them. */
  prune(slot: Slot): void {
    let at = slot
    while (isEmpty(at) && at.parent !== undefined) {
      const { parent } = at
      if (childOf(parent, at.token) !== at) return // out of the index already
      if (parent.children === at) parent.children = undefined
      else if (parent.children instanceof Map) {
        parent.children.delete(at.token)
        if (parent.children.size === 0) parent.children = undefined
      }
      if (at.token instanceof Scope) removeFrom(this.#scopes, parent, at)
      else this.#unlist(at)
      this.#letGo(at)
      at = parent
    }
  }

  #letGo(slot: Slot): void {
    const anchor = this.#anchors.get(slot)
    if (anchor === undefined) return
    anchor.slot = undefined
    this.#anchors.delete(slot)
  }

  /** The slots whose key has exactly these segments: one, or one in each scope. */
  exact(tokens: readonly SegmentToken[]): Slot[] {
    let slots: Slot[] = this.#throughScopes([this.root])
    for (const token of tokens) {
      const next: Slot[] = []
      for (const slot of slots) {
        const child = childOf(slot, token)
        if (child !== undefined) next.push(child)
      }
      slots = this.#throughScopes(next)
    }
    return slots
  }

  /** The slots whose key matches a pattern. */
  matching(pattern: Pattern): Slot[] {
    const firstStar = pattern.steps.indexOf('*')
    const anchored = firstStar >= 0 && pattern.steps.some((step, level) => level > firstStar && step !== '*')
    if (!anchored) return this.#walk([this.root], 0, pattern, Number.POSITIVE_INFINITY) ?? []
    for (let budget = FIRST_BUDGET; ; budget *= 4) {
      const found =
        this.#walk([this.root], 0, pattern, budget) ?? this.#fromAnchor(pattern, firstStar, budget)
      if (found !== undefined) return found
    }
  }

  /** Walks the tree from these slots, whose keys match the steps before `level`; undefined when that costs more. */
  #walk(from: readonly Slot[], level: number, { steps, rest }: Pattern, budget: number): Slot[] | undefined {
    let slots = this.#throughScopes(from)
    let left = budget
    for (const step of steps.slice(level)) {
      const next: Slot[] = []
      for (const slot of slots) {
        if (step === '*') {
          for (const child of childrenOf(slot)) {
            if (!(child.token instanceof Scope)) next.push(child)
            left -= 1
            if (left < 0) return undefined
          }
        } else {
          for (const token of tokensOfText(step.text)) {
            const child = childOf(slot, token)
            if (child !== undefined) next.push(child)
          }
        }
      }
      slots = this.#throughScopes(next)
    }
    return rest ? withDescendants(slots) : slots
  }

  /** Starts at the rarest literal behind the first `*`; undefined when that costs more. */
  #fromAnchor(pattern: Pattern, firstStar: number, budget: number): Slot[] | undefined {
    let rarest: { slots: ReadonlySet<Slot>; level: number } | undefined
    for (const [level, step] of pattern.steps.entries()) {
      if (level < firstStar || step === '*') continue
      const slots = this.#levelOf(level).get(step.text) ?? new Set()
      if (rarest === undefined || slots.size < rarest.slots.size) rarest = { slots, level }
    }
    if (rarest === undefined || rarest.slots.size > budget) return undefined
    const { slots, level } = rarest
    const anchors = [...slots].filter((slot) => leadsTo(slot, pattern.steps.slice(0, level)))
    return this.#walk(anchors, level + 1, pattern, Number.POSITIVE_INFINITY)
  }

  #levelOf(level: number): Map<string, Set<Slot>> {
    let byText = this.#levels.get(level)
    if (byText === undefined) {
      byText = new Map()
      this.#levels.set(level, byText)
      for (const slot of withDescendants([this.root])) this.#list(slot, level)
    }
    return byText
  }

  #add(parent: Slot, token: SegmentToken): Slot {
    const slot = new Slot(parent, token)
    const { children } = parent
    if (children === undefined) parent.children = slot
    else if (children instanceof Map) children.set(token, slot)
    else {
      parent.children = new Map([
        [children.token, children],
        [token, slot],
      ])
    }
    if (token instanceof Scope) addTo(this.#scopes, parent, slot)
    else for (const level of this.#levels.keys()) this.#list(slot, level)
    return slot
  }

  /** Enters a slot in the second index of its level, where that is kept. */
  #list(slot: Slot, level: number): void {
    if (slot.parent === undefined || slot.token instanceof Scope || levelOf(slot) !== level) return
    const byText = this.#levels.get(level)
    const text = textOf(slot.token)
    if (byText !== undefined && tokensOfText(text).includes(slot.token)) addTo(byText, text, slot)
  }

  #unlist(slot: Slot): void {
    if (this.#levels.size === 0) return
    const byText = this.#levels.get(levelOf(slot))
    if (byText !== undefined) removeFrom(byText, textOf(slot.token), slot)
  }

  /** These slots and the scopes right below them, however nested. */
  #throughScopes(slots: readonly Slot[]): Slot[] {
    const all = [...slots]
    if (this.#scopes.size === 0) return all
    for (let i = 0; i < all.length; i++)
      for (const scope of this.#scopes.get(all[i] as Slot) ?? []) all.push(scope)
    return all
  }
}

function isEmpty(slot: Slot): boolean {
  return slot.policy === undefined && slot.flight === undefined && slot.children === undefined
}

function withDescendants(slots: readonly Slot[]): Slot[] {
  const all = new Set(slots)
  for (const slot of all) for (const child of childrenOf(slot)) all.add(child)
  return [...all]
}

/** How many segments stand before this slot's own. */
function levelOf(slot: Slot): number {
  let level = -1
  for (let at = slot; at.parent !== undefined; at = at.parent) if (!(at.token instanceof Scope)) level += 1
  return level
}

/** Whether the segments before this slot's own match these steps, which are as many. */
function leadsTo(slot: Slot, steps: readonly PatternStep[]): boolean {
  let level = steps.length
  for (let at = slot.parent; at?.parent !== undefined; at = at.parent) {
    if (at.token instanceof Scope) continue
    level -= 1
    const step = steps[level]
    if (step !== '*' && (step === undefined || !tokensOfText(step.text).includes(at.token))) return false
  }
  return true
}

function addTo<K>(sets: Map<K, Set<Slot>>, key: K, slot: Slot): void {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([slot]))
  else set.add(slot)
}

function removeFrom<K>(sets: Map<K, Set<Slot>>, key: K, slot: Slot): void {
  const set = sets.get(key)
  if (set?.delete(slot) && set.size === 0) sets.delete(key)
}
