import type { FifoNode } from '../core/fifo.ts'

/** One call, as the circuit knows it. */
export class Ticket {
  /** The generation of the circuit that it began in; its outcome counts in that one alone. */
  readonly generation: number
  /** Whether its outcome is known. */
  isSettled = false
  /** When it becomes slow, and its place among those who may. */
  slowAt = 0
  place: FifoNode<Ticket> | undefined = undefined

  constructor(generation: number) {
    this.generation = generation
  }
}
