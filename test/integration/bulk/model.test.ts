import { useDatabase } from '../../helpers/database.ts'
import { modelSuite } from './model.suite.ts'

const database = useDatabase()
modelSuite(() => database.pool, false)
modelSuite(() => database.pool, true)
