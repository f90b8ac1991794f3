import { describeTables } from './tables.suite.ts'

describeTables('0.28')
