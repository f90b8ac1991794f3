import { describeRuntime } from './runtime.ts'

describeRuntime(`Node ${process.versions.node}`, () => process.execPath)
