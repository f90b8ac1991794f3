import { MillraceError } from 'millrace'
import { cachedQuery, queryCache } from 'millrace/cache'

interface Trip {
  readonly id: number
  readonly miles: number
}

const cache = queryCache({ name: 'trips', ttlMs: 300_000 })

const tripsOf = cachedQuery({ cache, ttlMs: 1_000 })(
  async (vehicleId: number, since?: Date): Promise<Trip[]> => [
    { id: vehicleId, miles: since?.getTime() ?? 0 },
  ],
)

export const miles: Promise<number> = tripsOf(42, new Date(0)).then((trips) =>
  trips.reduce((sum, trip) => sum + trip.miles, 0),
)

// @ts-expect-error: a wrapped function keeps its parameters
tripsOf.invalidate('42')

/** Compiled with standard decorators and with TypeScript's legacy ones. */
export class Trips {
  @cachedQuery({ cache, key: 'trips:maintenance' })
  async maintenance(vehicleId: number): Promise<Trip | undefined> {
    return (await tripsOf(vehicleId))[0]
  }
}

// @ts-expect-error: a decorated method keeps its parameters
new Trips().maintenance('42')

export function codeOf(error: unknown): string | undefined {
  return error instanceof MillraceError ? error.code : undefined
}
