import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { settle } from '../../../test/helpers/manual-clock.ts'
import { type Batch, type FlightWrite, WriteBuffer } from './write-buffer.ts'

const flight = (cid: number, updated: number, said: Partial<FlightWrite> = {}): FlightWrite => ({
  callsign: 'QFA1',
  cid,
  logon_time: new Date(0),
  last_updated: new Date(updated),
  status: 'airborne',
  ...said,
})
const flights = (...rows: FlightWrite[]) => ({ flights: rows, positions: [], movements: [] })

describe('the write buffer', () => {
  test('holds a flight once, the newest, with what only older reports said', async () => {
    const buffer = new WriteBuffer()
    await buffer.put(flights(flight(1, 1, { departure: 'YAAA', altitude: 1 })))
    await buffer.put(flights(flight(1, 3, { altitude: 3, route: undefined })))
    await buffer.put(flights(flight(1, 2, { altitude: 2, route: 'DCT' })))
    const batches: Batch[] = []
    await buffer.flush(async (batch) => void batches.push(batch))
    expect(batches).toMatchObject([
      { flights: [{ altitude: 3, departure: 'YAAA', route: 'DCT', last_updated: new Date(3) }] },
    ])
    expect(buffer.size).toBe(0)
  })

  test('lets a row go only when its write has succeeded', async () => {
    const buffer = new WriteBuffer()
    await buffer.put(flights(flight(1, 1, { altitude: 1 }), flight(2, 1)))
    const failing = buffer.flush(async () => {
      expect(buffer.size).toBe(2)
      await buffer.put(flights(flight(1, 2, { speed: 9 })))
      throw new Error('no database')
    })
    await expect(failing).rejects.toThrow('no database')
    expect(buffer.size).toBe(2)
    await buffer.flush(async (batch) => {
      expect(batch.flights.map(({ cid, altitude, speed }) => [cid, altitude, speed])).toEqual([
        [1, 1, 9],
        [2, undefined, undefined],
      ])
    })
    expect(buffer.size).toBe(0)
  })

  test('never holds more than its bound, also of rows that are being written', async () => {
    const buffer = new WriteBuffer({ maxRows: 2 })
    let written: () => void = () => undefined
    await buffer.put(flights(flight(1, 1), flight(2, 1)))
    const flushing = buffer.flush(() => new Promise((resolve) => (written = resolve)))
    let accepted = false
    const putting = buffer.put(flights(flight(3, 1))).then(() => (accepted = true))
    await settle()
    expect([accepted, buffer.size]).toEqual([false, 2])
    written()
    await Promise.all([flushing, putting])
    expect([accepted, buffer.size]).toEqual([true, 1])
  })

  test('writes everything that it accepted, whatever fails in between, and never exceeds its bound', async () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ put: fc.array(fc.nat(12), { maxLength: 8 }) }) },
      fc.record({ flush: fc.boolean() }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.array(step, { maxLength: 30 }),
        async (maxRows, steps) => {
          const buffer = new WriteBuffer({ maxRows })
          const accepted = new Map<number, number>()
          const table = new Map<number, number>()
          const write = async ({ flights: rows }: Batch) => {
            for (const { cid, last_updated } of rows) table.set(cid, last_updated.getTime())
          }
          let version = 0
          const puts: Promise<void>[] = []
          for (const action of steps) {
            if ('put' in action) {
              version += 1
              const rows = action.put.map((cid) => flight(cid, version))
              const put = Promise.all(puts).then(() => buffer.put(flights(...rows)))
              puts.push(
                put.then(() => {
                  for (const { cid, last_updated } of rows) accepted.set(cid, last_updated.getTime())
                }),
              )
            } else if (action.flush) await buffer.flush(write)
            else await buffer.flush(() => Promise.reject(new Error('no'))).catch(() => undefined)
            await settle()
            expect(buffer.size).toBeLessThanOrEqual(maxRows)
          }
          let isDone = false
          const all = Promise.all(puts).then(() => (isDone = true))
          while (!isDone || buffer.size > 0) {
            await buffer.flush(write)
            await settle()
          }
          await all
          expect(table).toEqual(accepted)
        },
      ),
      { numRuns: 200 },
    )
  })
})
