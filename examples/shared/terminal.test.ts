import { describe, expect, test } from 'vitest'
import {
  formatCount,
  formatFactor,
  formatMs,
  formatRatio,
  formatTable,
  progressBar,
  statusLine,
} from './terminal.ts'

/** A terminal that keeps what it was sent, and shows its last line as a person sees it. */
function screen({ isTTY = true, columns = 80 } = {}) {
  const written: string[] = []
  return {
    isTTY,
    columns,
    written,
    write: (text: string) => written.push(text),
    get line() {
      return written.join('').split('\r\x1b[K').at(-1)
    },
  }
}

describe('numbers', () => {
  test.each([
    [0.21349, '0.213 ms'],
    [9.999, '10.0 ms'],
    [41.66, '41.7 ms'],
    [99.94, '99.9 ms'],
    [99.96, '100 ms'],
    [612.4, '612 ms'],
    [5_318, '5.32 s'],
    [128_400, '128 s'],
  ])('a duration of %d ms reads %s', (ms, text) => expect(formatMs(ms)).toBe(text))

  test('counts, factors and shares read as people write them', () => {
    expect(formatCount(1_470_000)).toBe('1,470,000')
    expect(formatFactor(1_240.4)).toBe('1,240x')
    expect(formatFactor(3.14)).toBe('3.1x')
    expect(formatRatio(0.9866)).toBe('98.7 %')
  })
})

test('a table has its first column left and the others right, headings within, and gaps for what is not there', () => {
  const rows = [{ name: 'ä', users: 1_000, p50: '1 ms' }, 'then', { name: 'second', p50: '12 ms' }]
  expect(formatTable(['name', 'users', 'p50'], rows)).toBe(
    [
      'name    users    p50',
      '────────────────────',
      'ä       1,000   1 ms',
      '\nthen',
      'second         12 ms',
    ].join('\n'),
  )
})

describe('a progress bar', () => {
  test('shows the share, the count and the time left', () => {
    const terminal = screen()
    let time = 0
    const show = progressBar(statusLine(undefined, terminal), {
      label: 'seeding',
      unit: 'points',
      total: 2_000,
      now: () => time,
    })
    time = 3_000
    show(500)
    expect(terminal.line).toBe('seeding ██████░░░░░░░░░░░░░░░░░░ 25 %  500 of 2,000 points, 9 s left')
    time = 12_000
    show(2_000)
    expect(terminal.line).toBe('seeding ████████████████████████ 100 %  2,000 of 2,000 points, 0 s left')
  })

  test('is drawn at most ten times a second, and always at the end', () => {
    const terminal = screen()
    let time = 0
    const show = progressBar(statusLine(undefined, terminal), {
      label: '',
      unit: '',
      total: 1_000,
      now: () => time,
    })
    for (time = 1; time <= 1_000; time += 1) show(time)
    expect(terminal.written.filter((text) => text !== '\r\x1b[K')).toHaveLength(11)
    expect(terminal.line).toContain('100 %')
  })

  test('never wraps', () => {
    const terminal = screen({ columns: 30 })
    progressBar(statusLine(undefined, terminal), { label: 'seeding', unit: 'points', total: 10 })(5)
    expect(terminal.line).toHaveLength(29)
    // As some pseudo-terminals say of themselves.
    const unknown = screen({ columns: 0 })
    progressBar(statusLine(undefined, unknown), { label: '', unit: 'points', total: 10 })(5)
    expect(unknown.line).toContain('5 of 10 points')
  })

  test('says nothing where nobody watches', () => {
    const terminal = screen({ isTTY: false })
    const line = statusLine(undefined, terminal)
    progressBar(line, { label: 'seeding', unit: 'points', total: 10 })(5)
    line.clear()
    expect(terminal.written).toEqual([])
  })
})

test('a status line leaves nothing when it is cleared', () => {
  const terminal = screen()
  const line = statusLine(undefined, terminal)
  line.clear()
  expect(terminal.written).toEqual([])
  line.show('one')
  line.show('two')
  expect(terminal.line).toBe('two')
  line.clear()
  expect(terminal.line).toBe('')
})

test('a status line shows nothing any more once its signal aborts', () => {
  const terminal = screen()
  const controller = new AbortController()
  const line = statusLine(controller.signal, terminal)
  line.show('working')
  controller.abort()
  line.show('still working')
  expect(terminal.line).toBe('working')
})
