import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Puts texts into the blocks of a Markdown page, so that no figure is copied by hand. A block follows a comment
 * with its id: `<!-- bench cache hits.key -->`.
 *
 * @throws Error where the page has no such block
 */
export function writeBlocks(page: URL, blocks: ReadonlyMap<string, string>): void {
  let text = readFileSync(page, 'utf8')
  for (const [id, block] of blocks) {
    const start = `<!-- bench ${id} -->\n`
    const from = text.indexOf(start)
    if (from < 0) throw new Error(`${page.pathname} has no block "${id}"`)
    const rest = text.slice(from + start.length).replace(/^\n```text\n.*?\n```\n/s, '')
    text = `${text.slice(0, from)}${start}\n\`\`\`text\n${block}\n\`\`\`\n${rest}`
  }
  writeFileSync(page, text)
}
