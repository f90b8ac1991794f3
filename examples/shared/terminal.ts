/** One row of a table, by column; what a row does not have stays empty. */
export type Row = Readonly<Record<string, string | number | undefined>>

const count = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** A count as people read it: `1,470,000`. */
export function formatCount(value: number): string {
  return count.format(value)
}

/** A duration with three digits and its unit: `0.213 ms`, `41.7 ms`, `5.32 s`. */
export function formatMs(ms: number): string {
  const [value, unit] = ms < 1_000 ? [ms, 'ms'] : [ms / 1_000, 's']
  return `${value >= 99.95 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`
}

/** How many times faster: `1,240x`, `3.1x`. */
export function formatFactor(factor: number): string {
  return factor >= 10 ? `${formatCount(factor)}x` : `${factor.toFixed(1)}x`
}

/** A share as people read it: `98.7 %`. */
export function formatRatio(ratio: number): string {
  return `${(ratio * 100).toFixed(1)} %`
}

/**
 * A table as text, under its columns' names; the first column is left, the others are right, as numbers stand.
 * A string in place of a row is a heading within the table.
 */
export function formatTable(columns: readonly string[], rows: readonly (Row | string)[]): string {
  const cellsOf = (row: Row) =>
    columns.map((column) => {
      const value = row[column]
      return typeof value === 'number' ? formatCount(value) : (value ?? '')
    })
  const lines = rows.map((row) => (typeof row === 'string' ? row : cellsOf(row)))
  const widths = columns.map((column, index) =>
    Math.max(
      width(column),
      ...lines.map((line) => (typeof line === 'string' ? 0 : width(line[index] ?? ''))),
    ),
  )
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, index) => {
        const padding = ' '.repeat((widths[index] ?? 0) - width(cell))
        return index === 0 ? cell + padding : padding + cell
      })
      .join('  ')
      .trimEnd()
  const rule = widths.map((size) => '─'.repeat(size)).join('──')
  return [
    format(columns),
    rule,
    ...lines.map((line) => (typeof line === 'string' ? `\n${line}` : format(line))),
  ].join('\n')
}

/** The number of columns in a terminal, for text without wide characters. */
function width(text: string): number {
  return [...text].length
}

/** A stream to show progress on: `process.stderr`. */
export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

/** A line that is written over and over, and gone when it is cleared; nothing where nobody watches. */
export interface StatusLine {
  show(text: string): void
  clear(): void
}

/** The status line of a screen; nothing is shown any more once `signal` aborts. */
export function statusLine(signal?: AbortSignal, screen: Screen = process.stderr): StatusLine {
  let shown = false
  const clear = () => {
    if (shown) screen.write('\r\x1b[K')
    shown = false
  }
  return {
    show(text) {
      if (screen.isTTY !== true || signal?.aborted === true) return
      clear()
      screen.write([...text].slice(0, (screen.columns || 80) - 1).join(''))
      shown = true
    },
    clear,
  }
}

const BAR_WIDTH = 24
const REDRAW_MS = 100

/**
 * Shows how much of a known total is done, at most ten times a second:
 * `seeding ███████░░░░░░░░ 41 %  602,112 of 1,470,000 points, 5 s left`.
 */
export function progressBar(
  line: StatusLine,
  {
    label,
    unit,
    total,
    now = () => performance.now(),
  }: { label: string; unit: string; total: number; now?: () => number },
): (done: number) => void {
  const start = now()
  let drawnAt = Number.NEGATIVE_INFINITY
  return (done) => {
    const time = now()
    if (time - drawnAt < REDRAW_MS && done < total) return
    drawnAt = time
    const ratio = total === 0 ? 1 : Math.min(1, done / total)
    const full = Math.round(ratio * BAR_WIDTH)
    const secondsLeft = done === 0 ? undefined : Math.ceil(((time - start) * (1 - ratio)) / ratio / 1_000)
    line.show(
      `${label} ${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${Math.floor(ratio * 100)} %  ` +
        `${formatCount(done)} of ${formatCount(total)} ${unit}${secondsLeft === undefined ? '' : `, ${secondsLeft} s left`}`,
    )
  }
}
