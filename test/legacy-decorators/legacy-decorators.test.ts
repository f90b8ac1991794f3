import { cachedQuery, queryCache } from 'millrace'
import { beforeEach, describe, expect, expectTypeOf, it } from 'vitest'

const cache = queryCache({ name: 'legacy' })
let loads = 0

/** A parameter decorator exists only under `experimentalDecorators`: without that setting this file does not compile. */
function Inject(_target: object, _property: string | symbol | undefined, _index: number): void {}

class Trips {
  readonly owner: string

  constructor(@Inject owner: string) {
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

  @cachedQuery({ cache, key: 'trips:count' })
  static async count(): Promise<number> {
    loads += 1
    return loads
  }

  @cachedQuery({ cache, keyOf: (id: number) => ['vehicle', id], shouldCache: (value: number) => value > 0 })
  async keyed(id: number): Promise<number> {
    loads += 1
    return id
  }
}

beforeEach(() => {
  cache.clear()
  loads = 0
})

describe('a method with the legacy decorator', () => {
  it('is cached for each instance', async () => {
    const [a, b] = [new Trips('a'), new Trips('b')]
    expect([await a.maintenance(1), await a.maintenance(1), await b.maintenance(1)]).toEqual([
      'a 1 ever',
      'a 1 ever',
      'b 1 ever',
    ])
    expect(loads).toBe(2)
    expect(cache.invalidate('trips:maintenance:1')).toBe(2)
  })

  it('is shared by all instances where that is asked for', async () => {
    expect([await new Trips('a').shared(1), await new Trips('b').shared(1)]).toEqual([1, 1])
    expect(loads).toBe(1)
  })

  it('may be static, and may give its whole key', async () => {
    expect([await Trips.count(), await Trips.count()]).toEqual([1, 1])
    const trips = new Trips('a')
    expect([await trips.keyed(0), await trips.keyed(0), await trips.keyed(5), await trips.keyed(5)]).toEqual([
      0, 0, 5, 5,
    ])
    expect(loads).toBe(4)
  })

  it('keeps its type', () => {
    expectTypeOf(new Trips('a').maintenance).toEqualTypeOf<
      (vehicleId: number, since?: Date) => Promise<string>
    >()
  })
})
