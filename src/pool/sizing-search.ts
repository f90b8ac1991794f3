import { UsualTimes } from './sizing-usual.ts'

/** What is to be found, and where. */
export interface SearchBounds {
  readonly startAt: number
  readonly min: number
  readonly max: number
}

/** What a finished slot was: Little's law says of it how many statements were in the database on average. */
export interface SlotFigures {
  readonly perSecond: number
  readonly meanMs: number
}

/**
 * A connection more must bring at least this part of its share of the throughput. With 0 the search would climb to
 * where nothing more comes, far on the flat part of the curve; with 1 it would stay where the curve begins to bend.
 */
const gainRatio = 0.25

const shortestSlotMs = 200
const longestSlotMs = 6_400
/** Of a slot, what it begins with, when statements of the slot before are still under way. */
const settlingRatio = 0.25
/** A slot with fewer statements than this says nothing. */
const minSamples = 8
/** Of a slot's statements, those that began while somebody waited: only then does the limit decide anything. */
const saturatedRatio = 0.9

/** Once it has found its place it looks around in the first slots of each epoch only. */
const epochSlots = 16
const probingSlots = 8

const widestSpan = 2
const narrowestSpan = 1.2
const maxPairs = 12
/** How many standard errors a difference must be away from what decides, and the least that these are believed to be. */
const certainty = 1.6
const leastDeviation = 0.03

/** What became of one of the two slots of a pair. */
interface Half {
  readonly pair: number
  readonly isHigh: boolean
  /** Whether enough statements lay in it. */
  readonly flows: boolean
  /** How fast they were, where others waited all the time. */
  readonly speed: number | undefined
  /** Whether nothing moved, and others waited. */
  readonly stands: boolean
}

interface Slot {
  usualMs: number
  tookMs: number
  samples: number
  saturated: number
  ended: number
  endedMs: number
}

/**
 * Searches for the number of connections at which a database has just enough to do: the knee of its throughput.
 *
 * Time is cut into slots, and two slots that follow each other run with a lower and a higher limit, in changing order.
 * How much longer statements take in the higher one than in the lower one tells what the difference of the limits
 * brings: by Little's law throughput is concurrency over time, so where the times stay, throughput rises in
 * proportion, and where they rise in proportion it stays. The pairs are compared until the answer is well outside of
 * their noise. Nothing is compared with a past that may have been another one, as a smallest or long-term time is.
 *
 * Two things keep noise and bias out. Each statement is measured by what it usually takes, so the mix does not matter.
 * And where several processes search on one server, they must go up and down together, or each would find that to
 * take more from the others pays; so the slots are counted in the server's time, which is the same for all.
 *
 * @see Jain, Ramakrishnan, Chiu: Congestion Avoidance in Computer Networks with a Connectionless Network Layer (1988), on the knee
 */
export class KneeSearch {
  /** The limit that it holds for right. */
  home: number
  /** The limit of this moment, which may be one that it tries. */
  limit: number
  /** Of the last slot that ended. */
  figures: SlotFigures | undefined
  readonly #usual = new UsualTimes()
  readonly #least: number
  #min: number
  #max: number
  #low: number
  #high: number
  #span = widestSpan
  #searching = true
  #lastMove: 'up' | 'down' | undefined
  #slotMs = shortestSlotMs
  #slot: number | undefined
  #startedAt = 0
  #settledAt = 0
  #sums: Slot = emptySlot()
  #isSaturated = false
  /** Whether this slot tries a limit. */
  #probes = false
  #half: Half | undefined
  #differences: number[] = []

  constructor({ startAt, min, max }: SearchBounds) {
    this.#min = Math.min(min, max)
    this.#least = min
    this.#max = max
    this.home = clamp(startAt, this.#min, max)
    this.limit = this.home
    this.#low = this.home
    this.#high = this.home
    this.#putAbove(this.home)
  }

  /** The lowest limit: what was asked for, unless the highest is below it. */
  get min(): number {
    return this.#min
  }

  /** The highest limit of today. */
  get max(): number {
    return this.#max
  }

  set max(value: number) {
    if (value === this.#max) return
    this.#max = value
    this.#min = Math.min(this.#least, value)
    this.home = clamp(this.home, this.#min, value)
    this.limit = clamp(this.limit, this.#min, value)
    this.#putAbove(this.home)
    this.#forgetPairs()
  }

  /**
   * A statement has ended.
   *
   * @param nowMs in the time that all processes share
   * @param saturated whether others waited for its place
   */
  record(nowMs: number, text: string, tookMs: number, saturated: boolean): void {
    this.advance(nowMs)
    this.#isSaturated = saturated
    const sums = this.#sums
    sums.ended += 1
    sums.endedMs += tookMs
    const usualMs = this.#usual.note(text, tookMs)
    // What began before has felt the other limit; and of what is as long as a slot, only the shortest lie in one.
    if (usualMs === undefined || usualMs * 3 > this.#slotMs || nowMs - tookMs < this.#settledAt) return
    sums.usualMs += usualMs
    sums.tookMs += tookMs
    sums.samples += 1
    if (saturated) sums.saturated += 1
  }

  /** Goes on to the slot of this time. There is no timer: while nothing ends there is nothing to learn. */
  advance(nowMs: number): void {
    const slot = Math.floor(nowMs / this.#slotMs)
    if (slot === this.#slot) return
    if (this.#slot !== undefined) this.#end(this.#slot, nowMs)
    this.#begin(Math.floor(nowMs / this.#slotMs), nowMs)
  }

  #begin(slot: number, nowMs: number): void {
    this.#slot = slot
    this.#startedAt = nowMs
    this.#settledAt = nowMs + settlingRatio * this.#slotMs
    this.#sums = emptySlot()
    // Where nobody waits there is nothing to be found out, and a burst is to meet what is known to be right.
    this.#probes = this.#isSaturated && (this.#searching || slot % epochSlots < probingSlots)
    if (this.#probes) this.limit = isHigh(slot) ? this.#high : this.#low
    else this.limit = this.home
  }

  #end(slot: number, nowMs: number): void {
    const { ended, endedMs, samples, saturated, usualMs, tookMs } = this.#sums
    const saturatedAtEnd = this.#isSaturated
    const lastedMs = Math.max(1, nowMs - this.#startedAt)
    this.figures = { perSecond: (1_000 * ended) / lastedMs, meanMs: ended === 0 ? 0 : endedMs / ended }
    if (!this.#probes) {
      this.#usual.fold()
      return
    }
    const flows = samples >= minSamples
    const full = flows && saturated >= saturatedRatio * samples
    const half: Half = {
      pair: Math.floor(slot / 2),
      isHigh: isHigh(slot),
      flows,
      speed: full && tookMs > 0 ? usualMs / tookMs : undefined,
      stands: !flows && saturatedAtEnd,
    }
    const first = this.#half
    if (first?.pair !== half.pair) {
      this.#half = half
      return
    }
    this.#half = undefined
    this.#usual.fold()
    const { low, high } = first.isHigh ? { low: half, high: first } : { low: first, high: half }
    if (low.speed !== undefined && high.speed !== undefined) this.#compare(Math.log(high.speed / low.speed))
    // What waited with the lower limit is gone with the higher one.
    else if (low.speed !== undefined && high.flows) this.#move('up')
    // Long statements held all places: with one of the limits, the others stood still.
    else if (high.speed !== undefined && low.stands) this.#compare(0)
    else if (low.speed !== undefined && high.stands) this.#compare(-Math.log(this.#high / this.#low))
    this.#fitSlot()
  }

  /** Slots must be long enough for whole statements to lie in them. */
  #fitSlot(): void {
    const neededMs = 6 * this.#usual.weightedMs(longestSlotMs / 3)
    const doublings = Math.ceil(Math.log2(Math.max(1, neededMs / shortestSlotMs)))
    const slotMs = Math.min(longestSlotMs, shortestSlotMs * 2 ** doublings)
    if (slotMs === this.#slotMs) return
    this.#slotMs = slotMs
    this.#forgetPairs()
  }

  /** By how much faster statements were with the higher limit, as a logarithm: as a rule it is below 0. */
  #compare(difference: number): void {
    this.#differences.push(difference)
    const pairs = this.#differences.length
    if (pairs < 2 || this.#low === this.#high) return
    const mean = this.#differences.reduce((sum, each) => sum + each, 0) / pairs
    const squares = this.#differences.reduce((sum, each) => sum + (each - mean) ** 2, 0)
    const deviation = Math.max(Math.sqrt(squares / (pairs - 1)), leastDeviation * (pairs === 2 ? 2 : 1))
    const margin = (certainty * deviation) / Math.sqrt(pairs)
    const deciding = -(1 - gainRatio) * Math.log(this.#high / this.#low)
    if (mean - margin > deciding) this.#move('up')
    else if (mean + margin < deciding) this.#move('down')
    else if (pairs >= maxPairs) this.#stay(mean > deciding ? this.#high : this.#low)
  }

  #move(move: 'up' | 'down'): void {
    const was = this.home
    const again = move === this.#lastMove
    this.#lastMove = move
    this.home = move === 'up' ? this.#high : this.#low
    // Neither more nor fewer than before: it is there, and steps become small.
    this.#searching = this.home !== was
    this.#span = this.#searching && again ? this.#span ** 1.5 : Math.sqrt(this.#span)
    this.#span = clamp(this.#span, narrowestSpan, widestSpan)
    if (move === 'up') this.#putAbove(this.home)
    else this.#putBelow(this.home)
    this.#forgetPairs()
  }

  #stay(at: number): void {
    this.home = at
    this.#span = narrowestSpan
    this.#searching = false
    this.#lastMove = undefined
    this.#putAbove(at)
    this.#forgetPairs()
  }

  #putAbove(low: number): void {
    const high = Math.min(this.#max, Math.max(low + 1, Math.round(low * this.#span)))
    if (high > low) this.#set(low, high)
    else this.#putBelow(low)
  }

  #putBelow(high: number): void {
    const low = Math.max(this.#min, Math.min(high - 1, Math.round(high / this.#span)))
    if (low < high) this.#set(low, high)
    else if (this.#max > high) this.#putAbove(high)
    else this.#set(high, high)
  }

  #set(low: number, high: number): void {
    this.#low = low
    this.#high = high
  }

  #forgetPairs(): void {
    this.#differences = []
    this.#half = undefined
  }
}

const clamp = (value: number, min: number, max: number): number => Math.min(Math.max(value, min), max)

const emptySlot = (): Slot => ({ usualMs: 0, tookMs: 0, samples: 0, saturated: 0, ended: 0, endedMs: 0 })

/** Which slot of a pair has the higher limit: as in the Thue-Morse sequence, in which no drift shows. */
function isHigh(slot: number): boolean {
  let bits = Math.floor(slot / 2) % 2 ** 20
  let odd = slot % 2
  for (; bits > 0; bits &= bits - 1) odd ^= 1
  return odd === 1
}
