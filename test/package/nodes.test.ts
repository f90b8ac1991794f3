import { join } from 'node:path'
import { inject } from 'vitest'
import { install, oldestNode } from './packed.ts'
import { describeRuntime } from './runtime.ts'

/** The oldest that is promised, and the newest of each line after it. */
const versions = [`${oldestNode}.0`, '22', '24', '26']

/** The registry holds Node itself, a package for each platform. */
const platform = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`

for (const version of versions) {
  const { folder } = inject('packed')
  let installed: Promise<string> | undefined
  describeRuntime(`Node ${version}`, async () => {
    installed ??= install(join(folder, `node-${version}`), [`${platform}@${version}`])
    return join(await installed, 'node_modules', platform, 'bin/node')
  })
}
