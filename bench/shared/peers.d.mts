/** The Node for packages that do not support the one that runs this. */
export const NEWER_NODE: number
/** Installs what bench/package.json lists where it is missing. */
export function installPeers(): void
/** The Node to run a package of bench/ on: this one if the package supports it; undefined if there is none. */
export function nodeFor(name: string | undefined): string | undefined
/** The version of a package as installed in bench/. */
export function versionOf(name: string): string | undefined
