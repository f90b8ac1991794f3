import pg from 'pg'
import { DatabaseUnavailableError } from './error.ts'

/**
 * Sees that a database can be used.
 *
 * @throws DatabaseUnavailableError what is wrong with the URL or behind it, and what to do; never the password
 */
export async function checkDatabaseUrl(url: string, connectTimeoutMs = 5_000): Promise<void> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new DatabaseUnavailableError(
      'DATABASE_URL is not the URL of a PostgreSQL: write it as postgres://user:password@host:5432/database, or unset it to use the embedded one',
    )
  }
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs })
  // A connection that is lost after an error that is being reported is no news.
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
  } catch (error) {
    const { host, port, user, database } = client
    const where = `${user === undefined ? '' : `${user}@`}${host}:${port}/${database ?? ''}`
    const reason = explainConnect(error as Error & { code?: string })
    throw new DatabaseUnavailableError(`DATABASE_URL (${where}): ${reason}`)
  } finally {
    await client.end().catch(() => undefined)
  }
}

const otherwise = 'or unset it to use the embedded PostgreSQL'

function explainConnect({ code = '', message }: Error & { code?: string }): string {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return `nothing answers there: start that server, correct the URL, ${otherwise}`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `there is no such host: correct the URL, ${otherwise}`
    case '28P01':
      return `the server does not accept this password: correct the URL, ${otherwise}`
    case '3D000':
      return `there is no such database: make it (createdb), correct the URL, ${otherwise}`
    case '53300':
      return `the server has no connection to spare: end some, ${otherwise}`
    case '57P03':
      return `the server is just starting or ending: try again, ${otherwise}`
    default:
      if (/timeout/i.test(message)) return `the server does not answer in time: correct the URL, ${otherwise}`
      if (/password must be/.test(message)) return `the server asks for a password: add it, ${otherwise}`
      return `${message}: correct the URL, ${otherwise}`
  }
}
