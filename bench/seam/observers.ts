import { AsyncLocalStorage } from 'node:async_hooks'
import type { ObservedTransaction, Observer, StatementTables } from '../../src/core/seam/observer.ts'

/** Does the least that an observer can do in both hooks. */
export function idle(): Observer {
  const told = { before: 0, after: 0 }
  return {
    before() {
      told.before += 1
    },
    after() {
      told.after += 1
    },
  }
}

/** What a guard does for each statement: finds its scope, counts, decides by the node. */
export function guard(): Observer {
  const scopes = new AsyncLocalStorage<{ statements: number; rows: number }>()
  const everywhere = { statements: 0, rows: 0 }
  return {
    name: 'guard',
    before({ control, node }) {
      if (control !== undefined) return
      const scope = scopes.getStore() ?? everywhere
      scope.statements += 1
      if (node?.kind === 'SelectQueryNode' && !('limit' in node)) scope.rows += 1
    },
    after(_statement, { rowCount }) {
      const scope = scopes.getStore() ?? everywhere
      scope.rows += rowCount
    },
  }
}

/** What a cache that knows tables does for each statement: collects what a transaction wrote, drops at its commit. */
export function cache(): Observer {
  const written = new WeakMap<ObservedTransaction, Set<StatementTables | undefined>>()
  const told = { dropped: 0 }
  return {
    name: 'cache',
    after({ node, tables, transaction }, { error, uncertain }) {
      if (node?.kind === 'SelectQueryNode' || (error !== undefined && !uncertain)) return
      if (transaction === undefined) {
        told.dropped += 1
        return
      }
      const tablesOfIt = written.get(transaction) ?? new Set()
      written.set(transaction, tablesOfIt.add(tables))
    },
    transaction(transaction, { type }) {
      if (type === 'commit') told.dropped += written.get(transaction)?.size ?? 0
    },
  }
}
