import { Agent, request } from 'node:http'
import { formatTime } from '../shared/requests.ts'
import { race } from '../tracker/simulation/season.ts'

/** What users and devices do. */
export type Kind = 'list' | 'flights' | 'fixes'

/** One kind of request and how often it comes, whatever becomes of those before. */
export interface Stream {
  readonly kind: Kind
  readonly perSecond: number
  /** The number counts the requests of this kind, from 0. */
  readonly call: (number: number) => { readonly path: string; readonly body?: unknown }
}

/** What came of the requests of one kind. */
export interface Tally {
  readonly kind: Kind
  answered: number
  failed: number
  /** The longest time in which none was answered well. */
  longestOutageMs: number
  /** The numbers of those that were. */
  readonly succeeded: number[]
}

const TIMEOUT_MS = 10_000
const TICK_MS = 10

/**
 * Sends requests at a steady rate until it is over, as a public does that knows nothing of the service's troubles, and waits for the
 * last of them. An answer below 400 within ten seconds is a good one.
 */
export async function drive(
  origin: string,
  streams: readonly Stream[],
  isOver: () => boolean,
  signal: AbortSignal,
): Promise<Tally[]> {
  const agent = new Agent({ keepAlive: true })
  const start = performance.now()
  const pending: Promise<void>[] = []
  const driven = streams.map((stream) => {
    const tally: Tally = { kind: stream.kind, answered: 0, failed: 0, longestOutageMs: 0, succeeded: [] }
    return { stream, tally, sent: 0, lastGoodAt: start }
  })

  function send(one: (typeof driven)[number]): void {
    const number = one.sent
    one.sent += 1
    pending.push(
      succeeds(agent, origin, one.stream.call(number)).then((good) => {
        if (!good) {
          one.tally.failed += 1
          return
        }
        const now = performance.now()
        one.tally.answered += 1
        one.tally.succeeded.push(number)
        one.tally.longestOutageMs = Math.max(one.tally.longestOutageMs, now - one.lastGoodAt)
        one.lastGoodAt = now
      }),
    )
  }

  try {
    for (let now = start; !isOver(); now = performance.now()) {
      signal.throwIfAborted()
      for (const one of driven) {
        const due = Math.floor(((now - start) / 1_000) * one.stream.perSecond)
        while (one.sent < due) send(one)
      }
      await new Promise((resolve) => setTimeout(resolve, TICK_MS))
    }
    const end = performance.now()
    await Promise.all(pending)
    for (const { tally, lastGoodAt } of driven) {
      tally.longestOutageMs = Math.max(tally.longestOutageMs, end - lastGoodAt)
    }
  } finally {
    agent.destroy()
  }
  return driven.map(({ tally }) => tally)
}

function succeeds(
  agent: Agent,
  origin: string,
  { path, body }: ReturnType<Stream['call']>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const sending = request(
      new URL(path, origin),
      {
        agent,
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(text === undefined
          ? {}
          : {
              method: 'POST',
              headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
            }),
      },
      (response) => {
        response.resume()
        response.on('end', () => resolve((response.statusCode ?? 599) < 400))
        response.on('error', () => resolve(false))
      },
    )
    sending.on('error', () => resolve(false))
    sending.end(text)
  })
}

/** The flight that the load sends fixes of. */
export const loadFlight = { flight_id: 'chaos', pilot_id: 'chaos', pilot_name: 'Chaos' }

/** When the fix of a request was taken. */
export const timeOfFix = (number: number): Date => new Date(Date.UTC(2025, 7, 20) + number * 1_000)

/** Many look at the list of the whole season, fewer at a pilot's flights, each by a range that nobody had before. */
export function streamsOf(pilotIds: readonly string[]): Stream[] {
  const { opentime: start, closetime: end } = race
  const rangeFrom = (time: Date) =>
    new URLSearchParams({ opentime: formatTime(time), closetime: formatTime(end) }).toString()
  return [
    {
      kind: 'list',
      perSecond: 40,
      call: () => ({ path: `/tracking/live/summary?${rangeFrom(start)}` }),
    },
    {
      kind: 'flights',
      perSecond: 20,
      call: (number) => {
        const pilotId = encodeURIComponent(pilotIds[number % pilotIds.length] ?? '')
        const range = rangeFrom(new Date(start.getTime() + number * 1_000))
        return { path: `/tracking/live/pilot/${pilotId}/flights?${range}` }
      },
    },
    {
      kind: 'fixes',
      perSecond: 20,
      call: (number) => ({
        path: '/tracking/live',
        body: {
          ...loadFlight,
          points: [{ datetime: formatTime(timeOfFix(number)), lat: 45.8, lon: 11.7, elevation: 1_000 }],
        },
      }),
    },
  ]
}
