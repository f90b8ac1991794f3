import { cachedQuery, queryCache } from 'millrace'
import { beforeEach, describe, expect, expectTypeOf, it } from 'vitest'

const cache = queryCache({ name: 'decorators' })
let loads = 0

class Trips {
  readonly owner: string

  constructor(owner: string) {
    this.owner = owner
  }

  @cachedQuery({ cache, key: 'trips:maintenance' })
  async maintenance(vehicleId: number, since?: Date): Promise<string> {
    loads += 1
    return `${this.owner} ${vehicleId} ${since?.getTime() ?? 'ever'}`
  }

  @cachedQuery({ cache, key: 'trips:shared', perClass: true })
  async shared(vehicleId: number): Promise<number> {
    loads += 1
    return vehicleId
  }

  @cachedQuery({ cache, keyOf: (id: number) => ['vehicle', id] })
  async keyed(id: number): Promise<number> {
    loads += 1
    return id
  }

  @cachedQuery({ cache })
  async unnamed(): Promise<string> {
    return this.owner
  }

  @cachedQuery({ cache })
  async #hidden(id: number): Promise<string> {
    loads += 1
    return `${this.owner} ${id}`
  }

  viaHidden(id: number): Promise<string> {
    return this.#hidden(id)
  }

  @cachedQuery({ cache, key: 'trips:count' })
  static async count(): Promise<number> {
    loads += 1
    return loads
  }
}

class Deliveries {
  @cachedQuery({ cache })
  async unnamed(): Promise<string> {
    return 'deliveries'
  }
}

beforeEach(() => {
  cache.clear()
  loads = 0
})

describe('a method with the standard decorator', () => {
  it('is cached for each instance', async () => {
    const [a, b] = [new Trips('a'), new Trips('b')]
    expect([await a.maintenance(1), await a.maintenance(1), await b.maintenance(1)]).toEqual([
      'a 1 ever',
      'a 1 ever',
      'b 1 ever',
    ])
    expect(loads).toBe(2)
  })

  it('is found by segments and patterns without its instance', async () => {
    const [a, b] = [new Trips('a'), new Trips('b')]
    for (const trips of [a, b]) for (const id of [1, 2]) await trips.maintenance(id)
    expect(cache.explain(['trips', 'maintenance', 1]).state).toBe('fresh')
    expect(cache.invalidate(['trips', 'maintenance', 1])).toBe(2)
    expect(cache.invalidate('trips:maintenance:2')).toBe(2)
    await a.maintenance(3)
    expect(cache.invalidate('trips:*')).toBe(1)
  })

  it('is shared by all instances where that is asked for', async () => {
    expect([await new Trips('a').shared(1), await new Trips('b').shared(1)]).toEqual([1, 1])
    expect(loads).toBe(1)
  })

  it('has the key that keyOf gives, whatever the instance', async () => {
    await new Trips('a').keyed(7)
    await new Trips('b').keyed(7)
    expect(loads).toBe(1)
    expect(cache.invalidate(['vehicle', 7])).toBe(1)
  })

  it('is kept apart from a method of the same name of another class', async () => {
    expect([await new Trips('a').unnamed(), await new Deliveries().unnamed()]).toEqual(['a', 'deliveries'])
  })

  it('may be private or static', async () => {
    const trips = new Trips('a')
    expect([await trips.viaHidden(1), await trips.viaHidden(1)]).toEqual(['a 1', 'a 1'])
    expect([await Trips.count(), await Trips.count()]).toEqual([2, 2])
  })

  it('keeps its type', () => {
    expectTypeOf(new Trips('a').maintenance).toEqualTypeOf<
      (vehicleId: number, since?: Date) => Promise<string>
    >()
  })

  it('is refused on what is no method', () => {
    expect(() => cachedQuery({ cache })(async () => 1, { kind: 'field', name: 'x' } as never)).toThrow(
      'cachedQuery: wraps a function or decorates a method, got a function, an object',
    )
  })
})
