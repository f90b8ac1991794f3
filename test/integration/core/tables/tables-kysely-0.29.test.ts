import { vi } from 'vitest'
import { describeTables } from './tables.suite.ts'

vi.mock('kysely', () => import('kysely-0.29'))

describeTables('0.29')
