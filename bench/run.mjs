#!/usr/bin/env node
// npm run bench -- [<name> [options]]: runs bench/<name>.ts with its options; without a name, says what there is.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { installPeers } from './shared/peers.mjs'
import { typescriptLoader } from './shared/typescript.mjs'

const here = new URL('.', import.meta.url)
const [name, ...options] = process.argv.slice(2)
const names = readdirSync(here)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -'.ts'.length))

if (name === undefined || !names.includes(name)) {
  if (name !== undefined && name !== '--help') console.error(`there is no bench "${name}"`)
  console.log('npm run bench -- <name> [options]\n')
  for (const each of names) console.log(`  ${each.padEnd(10)}${summaryOf(each)}`)
  process.exitCode = name === undefined || name === '--help' ? 0 : 1
} else {
  try {
    installPeers()
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
  const bench = spawn(
    process.execPath,
    [
      '--import',
      typescriptLoader,
      '--enable-source-maps',
      fileURLToPath(new URL(`${name}.ts`, here)),
      ...options,
    ],
    { stdio: 'inherit' },
  )
  // The terminal sends an interrupt to both; the bench decides when it is over.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT') bench.kill(signal)
    })
  }
  bench.on('exit', (code) => {
    process.exitCode = code ?? 1
  })
}

/** What a bench says of itself: the first sentence of its first comment. */
function summaryOf(bench) {
  const text = readFileSync(new URL(`${bench}.ts`, here), 'utf8')
  const comment = /^\/\*\*(.*?)\*\//s.exec(text)?.[1] ?? ''
  return comment
    .replace(/^\s*\*/gm, '')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/(\.) .*$/, '$1')
}
