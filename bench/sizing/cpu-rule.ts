/**
 * A pool sized by the CPU of the app, as performance guides have it: from 10 to 50 connections, more while the app has
 * CPU to spare (below the level of a warning, 70 %), fewer where it has none (from that of an alarm on, 90 %).
 */
export class CpuRule {
  size = 10
  #askedAt = 0

  /**
   * Once a second.
   *
   * @param usedMs the CPU time that the app has used since the last time
   */
  look(nowMs: number, usedMs: () => number): void {
    const passedMs = nowMs - this.#askedAt
    if (passedMs < 1_000) return
    this.#askedAt = nowMs
    const ratio = usedMs() / passedMs
    if (ratio < 0.7) this.size = Math.min(50, this.size + 5)
    else if (ratio >= 0.9) this.size = Math.max(10, this.size - 5)
  }
}
