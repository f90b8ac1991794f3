/**
 * What one retry instance may spend on retries, shared by all of its callers: a bucket of tokens, full at first.
 * A retry takes one token; a call that needed no retry puts `ratio` of a token back, and one that a retry saved
 * puts that retry's token back. So while all goes wrong there are `max` retries and no more, however many call,
 * and over time they stay below `ratio` of the calls that succeed.
 *
 * It is the retry quota of the AWS SDKs' standard mode, which has 500 tokens, takes 5 for a retry and puts 1 back:
 * 100 retries, a ratio of 0.2.
 *
 * @see https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
 */
export class RetryBudget {
  readonly #ratio: number
  readonly #max: number
  #tokens: number

  constructor(ratio: number, max: number) {
    this.#ratio = ratio
    this.#max = max
    this.#tokens = max
  }

  /** How many retries are left, in whole retries. */
  get left(): number {
    return Math.floor(this.#tokens)
  }

  /** Takes a retry's token; false where there is none. */
  take(): boolean {
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Gives a retry's token back. */
  giveBack(): void {
    this.#add(1)
  }

  /** Pays in for a call that needed no retry. */
  deposit(): void {
    this.#add(this.#ratio)
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(this.#max, this.#tokens + tokens)
  }
}
