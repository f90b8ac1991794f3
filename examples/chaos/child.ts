import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Scope } from '../shared/program.ts'
import type { ServiceOrder, ServiceReport } from './service.ts'

/** A service in a process of its own, which may die. */
export class Service {
  readonly #child: ChildProcess
  #last: ServiceReport | undefined
  #died: string | undefined
  #stderr = ''

  constructor(order: ServiceOrder) {
    this.#child = fork(new URL('./service.ts', import.meta.url), [JSON.stringify(order)], {
      execArgv: ['--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.on('message', (report: ServiceReport) => {
      this.#last = report
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-10_000)
    })
    this.#child.on('exit', () => {
      this.#died = /^.*Error: .*$/m.exec(this.#stderr)?.[0] ?? 'ended'
    })
  }

  /** Resolves when it serves. */
  async ready(): Promise<void> {
    while (this.#last === undefined) {
      if (this.#died !== undefined) throw new Error(`the service did not start:\n${this.#stderr}`)
      await Promise.race([once(this.#child, 'message'), once(this.#child, 'exit')])
    }
  }

  /** `http://127.0.0.1:40123` */
  get origin(): string {
    return this.#last?.origin ?? ''
  }

  /** TCP connections begun so far; of a dead one those that it told of last. */
  get connections(): number {
    return this.#last?.connections ?? 0
  }

  /** What it died of; undefined while it lives. */
  get died(): string | undefined {
    return this.#died
  }

  async close(): Promise<void> {
    if (this.#died !== undefined) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }
}

/** A service that ends with the program. */
export async function openService(scope: Scope, order: ServiceOrder): Promise<Service> {
  const service = await scope.use(
    async () => new Service(order),
    (opened) => opened.close(),
  )
  await service.ready()
  return service
}
