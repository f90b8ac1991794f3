import { parseArgs } from 'node:util'
import { openMeter } from '../shared/measure.ts'
import { columns, measureRow } from '../shared/measurements.ts'
import { runProgram, UsageError } from '../shared/program.ts'
import { formatTable, type Row, statusLine } from '../shared/terminal.ts'
import { deviceLoad, oldVisits, readSeason, visits } from './traffic.ts'

const usage = `npx tsx examples/tracker/load.ts [--url <origin>] [--users <n>] [--seconds <n>] [--devices <n>]

Drives a tracker that runs (npm start): the old page, with the index that it did not have, then the new one, and
prints a table.
  --url      where it is; http://127.0.0.1:3000 by default
  --users    how many look at it at a time; 50 by default
  --seconds  how long each side is driven; 10 by default
  --devices  how many pilots send ten fixes a second meanwhile; 0 by default. Their flights stay in its database`

await runProgram(async (scope) => {
  const options = readOptions()
  if (options === undefined) return
  const { origin, users, durationMs, devices } = options
  const season = await readSeason(origin)
  const meter = await openMeter(scope)
  const line = statusLine(scope.signal)
  const rows: (Row | string)[] = []
  const sides = [
    { name: 'old page', calls: oldVisits(season, 1_000) },
    { name: 'new page', calls: visits(season, 1_000) },
  ]
  for (const { name, calls } of sides) {
    line.show(`${name}: ${users} users for ${durationMs / 1_000} s ...`)
    const meanwhile = devices === 0 ? undefined : deviceLoad(origin, devices, durationMs)
    const load = { origin, users, calls, durationMs }
    rows.push((await measureRow(meter, name, load, meanwhile)).row)
  }
  line.clear()
  console.log(formatTable(columns, rows))
  if (devices > 0)
    console.log(`\nstatements are those of ${devices} devices too, which sent ten fixes a second each`)
})

function readOptions() {
  const { values } = parse()
  if (values.help === true) {
    console.log(usage)
    return undefined
  }
  const { url = 'http://127.0.0.1:3000' } = values
  if (!URL.canParse(url))
    throw new UsageError(`--url must be an address such as http://127.0.0.1:3000, got ${JSON.stringify(url)}`)
  return {
    origin: new URL(url).origin,
    users: readCount('users', values.users ?? '50', 1),
    durationMs: readCount('seconds', values.seconds ?? '10', 1) * 1_000,
    devices: readCount('devices', values.devices ?? '0', 0),
  }
}

function parse() {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      options: {
        url: text,
        users: text,
        seconds: text,
        devices: text,
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError(
      `${error instanceof Error ? error.message : String(error)}; --help shows what can be given`,
    )
  }
}

function readCount(name: string, text: string, min: number): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) < min)
    throw new UsageError(`--${name} must be a number from ${min}, got ${JSON.stringify(text)}`)
  return Number(text)
}
