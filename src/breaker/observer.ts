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
