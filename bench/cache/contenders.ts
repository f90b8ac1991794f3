import { NEWER_NODE, nodeFor, versionOf } from '../shared/peers.mjs'
import type { Contender } from './contender.ts'

/** A cache that is measured, where it stands, and the package that it comes from. */
export interface Entry {
  readonly name: string
  readonly file: string
  /** Its package in bench/package.json; none for millrace. */
  readonly package?: string
}

const peers: readonly string[] = [
  'bentocache',
  'cacheable',
  'cache-manager',
  '@epic-web/cachified',
  'async-cache-dedupe',
  'p-memoize',
  'layered-loader',
  'lru-cache',
]

/** millrace first, then its peers. */
export const entries: readonly Entry[] = [
  { name: 'millrace', file: './millrace.ts' },
  ...peers.map((name) => ({
    name: name === 'lru-cache' ? 'lru-cache fetch' : name,
    file: `./peers/${name.replace('@epic-web/', '')}.ts`,
    package: name,
  })),
]

/** Loads the adapter of an entry. By a computed name, so that the sources type-check without the peers. */
export async function contenderOf({ file }: Entry): Promise<Contender> {
  const module = (await import(file)) as { readonly contender: Contender }
  return module.contender
}

/** The entry's name with the version, and the Node that it runs on where that is another. */
export function labelOf(entry: Entry): string {
  const version = entry.package === undefined ? undefined : versionOf(entry.package)
  const node = nodeFor(entry.package)
  const name = version === undefined ? entry.name : `${entry.name} ${version}`
  return node === process.execPath ? name : `${name} (Node ${NEWER_NODE})`
}
