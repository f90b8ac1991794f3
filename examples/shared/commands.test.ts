import { describe, expect, test, vi } from 'vitest'
import { readCommand } from './commands.ts'
import type { Example } from './example.ts'

const example = (name: string): Example => ({
  name,
  title: '',
  connections: 1,
  demo: vi.fn(),
  start: vi.fn(),
})
const examples = [example('tracker'), example('bag-scan')]
const read = (...args: string[]) => readCommand(examples, 'how to use it', args)

describe('a command', () => {
  test('is for all examples at the default scale and port, unless it says otherwise', () => {
    vi.stubEnv('PORT', undefined)
    expect(read()).toEqual({ examples, full: false, port: 3000 })
    expect(read('bag-scan', '--full', '--port', '0')).toEqual({
      examples: [examples[1]],
      full: true,
      port: 0,
    })
    vi.stubEnv('PORT', '8080')
    expect(read()).toMatchObject({ port: 8080 })
    expect(read('--port=9090')).toMatchObject({ port: 9090 })
    vi.unstubAllEnvs()
  })

  test.each([
    [['--prot', '3000'], "Unknown option '--prot'; --help shows what can be given"],
    [['--full=yes'], "Option '--full' does not take an argument; --help shows what can be given"],
    [['--port', 'web'], 'the port must be a number from 0 to 65535, got "web"'],
    [['--port', '70000'], 'the port must be a number from 0 to 65535, got "70000"'],
    [['trakcer'], 'there is no example "trakcer"; there is tracker, bag-scan'],
  ])('%j is answered with what is wrong', (args, message) => {
    expect(() => read(...args)).toThrow(message)
  })

  test('may ask for help', () => {
    const log = vi.spyOn(console, 'log').mockReturnValue()
    expect(read('--help')).toBeUndefined()
    expect(read('-h')).toBeUndefined()
    expect(log.mock.calls).toEqual([['how to use it'], ['how to use it']])
    log.mockRestore()
  })
})
