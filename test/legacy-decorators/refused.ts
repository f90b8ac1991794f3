import { cachedQuery, queryCache } from 'millrace'

const cache = queryCache({ name: 'refused' })

/** What the compiler must refuse; never run. */
export class Wrong {
  // @ts-expect-error a method that does not return a promise
  @cachedQuery({ cache })
  sync(): number {
    return 1
  }

  // @ts-expect-error keyOf takes a string, the method a number
  @cachedQuery({ cache, keyOf: (id: string) => [id] })
  async wrongKey(id: number): Promise<number> {
    return id
  }
}
