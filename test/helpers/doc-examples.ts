import { readFileSync } from 'node:fs'

/**
 * The TypeScript examples of a page of docs that are not in the source of the tests that run them. White space does
 * not count, and neither does where the imports stand.
 */
export function examplesNotIn(page: URL, tests: URL): string[] {
  const source = readFileSync(tests, 'utf8')
  const imported = new Set(importsOf(source))
  const body = withoutSpace(source)
  const examples = [...readFileSync(page, 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)].map(
    ([, code = '']) => code,
  )
  if (examples.length === 0) throw new Error(`${page.pathname} has no examples`)
  return examples.filter(
    (example) =>
      !body.includes(withoutSpace(example.replaceAll(importStatement, ''))) ||
      importsOf(example).some((name) => !imported.has(name)),
  )
}

const importStatement = /^import (?:type )?\{([^}]*)\} from ('.*')$/gm

/** Each imported name with its module. */
const importsOf = (code: string): string[] =>
  [...code.matchAll(importStatement)].flatMap(([, names = '', module]) =>
    names
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '')
      .map((name) => `${name} from ${module}`),
  )

/** What a formatter leaves alone: where lines break, there may be a comma more. */
const withoutSpace = (code: string): string => code.replace(/\s+/g, '').replace(/,([)\]}])/g, '$1')
