/** DataLoader, as far as it is used here. */
export type DataLoader = new <K, V>(
  load: (keys: readonly K[]) => Promise<readonly V[]>,
  options?: { readonly cache?: boolean },
) => { load(key: K): Promise<V> }

/** By a computed name, so that the sources type-check without the peers. */
export async function loadDataLoader(): Promise<DataLoader> {
  const peer = 'dataloader'
  return ((await import(peer)) as { default: DataLoader }).default
}
