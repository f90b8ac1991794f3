let asking = false

/** Runs what calls pg-pool's own `query`, which asks for a client before it returns. */
export function askingForQuery<T>(call: () => T): T {
  asking = true
  try {
    return call()
  } finally {
    asking = false
  }
}

/** Whether it is `pool.query` that just asks its pool for a client, although the seam stands between. */
export function isPoolQueryAsking(): boolean {
  return asking
}
