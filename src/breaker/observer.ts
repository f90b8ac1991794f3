import type { PgPool } from '../core/pg.ts'
import type { Observer, Statement, StatementOutcome } from '../core/seam/observer.ts'
import { classifyError } from '../core/sqlstate.ts'
import type { Circuit } from './circuit.ts'
import { refusal } from './errors.ts'
import { type IsFailure, type Outcome, outcomeOf } from './outcome.ts'
import { Ticket } from './ticket.ts'

/**
 * A circuit as an observer of the seam: each statement is a call. What ends a transaction passes always, or one
 * that has begun could neither be committed nor rolled back.
 */
export function circuitObserver(name: string, circuit: Circuit, isFailure: IsFailure | undefined): Observer {
  const calls = new WeakMap<Statement, Ticket>()
  return {
    name: `circuit breaker "${name}"`,
    before(statement) {
      if (endsSomething(statement)) return
      const admission = circuit.admit()
      if (typeof admission !== 'number') throw refusal(name, admission)
      const call = new Ticket(admission)
      calls.set(statement, call)
      circuit.begin(call)
      // How long a stream takes is its reader's affair.
      if (statement.streamed) circuit.forsake(call)
    },
    after(statement, outcome) {
      const call = calls.get(statement)
      if (call === undefined) return
      calls.delete(statement)
      circuit.end()
      circuit.settle(call, ofStatement(outcome, isFailure), outcome.error)
    },
  }
}

/** COMMIT, ROLLBACK, RELEASE, ROLLBACK TO, and the second phase of a prepared transaction. */
function endsSomething({ control, commits }: Statement): boolean {
  if (control === undefined) return commits
  return control.type !== 'begin' && control.type !== 'savepoint'
}

function ofStatement({ sent, error }: StatementOutcome, isFailure: IsFailure | undefined): Outcome {
  if (error === undefined) return 'succeeded'
  if (sent) return outcomeOf(error, isFailure)
  // Another observer refused it, or no connection was to be had: only the second is of interest.
  const { class: errorClass } = classifyError(error)
  return errorClass === 'outage' || errorClass === 'overload' ? outcomeOf(error, isFailure) : 'neutral'
}

/**
 * A pool whose `connect` is a call of the circuit, for whoever asks for a connection before there is a statement, as
 * Kysely does. A connection that comes says nothing, for it may have lain there for long; one that does not come
 * counts by its error.
 */
export function circuitPool<P extends PgPool>(
  pool: P,
  name: string,
  circuit: Circuit,
  isFailure: IsFailure | undefined,
): P {
  const connect = async (): Promise<unknown> => {
    const admission = circuit.admit()
    if (typeof admission !== 'number') throw refusal(name, admission)
    const call = new Ticket(admission)
    circuit.begin(call)
    try {
      const client: unknown = await pool.connect()
      circuit.end()
      circuit.settle(call, 'neutral')
      return client
    } catch (error) {
      circuit.end()
      circuit.settle(call, outcomeOf(error, isFailure), error)
      throw error
    }
  }
  const connectOrCall = (callback?: unknown): unknown =>
    callback === undefined ? connect() : pool.connect(callback)
  return new Proxy(pool, {
    get(target, property) {
      if (property === 'connect') return connectOrCall
      const value: unknown = Reflect.get(target, property)
      // The pool's own methods go on among themselves, as before.
      return typeof value === 'function' && !isClass(value) ? value.bind(target) : value
    },
  })
}

/** `pool.Client`, which Kysely makes clients of. */
const isClass = (value: object): boolean =>
  Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false
