// Runs TypeScript as it stands, for benches. Not tsx: that gives every function its name by a call of
// Object.defineProperty at each creation, which costs more than much of what is measured here.
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import ts from 'typescript'

/** What `node --import` takes to run TypeScript. */
export const typescriptLoader = import.meta.url

const src = new URL('../../src/', import.meta.url)

if (isMainThread && process.execArgv.includes(typescriptLoader)) register(import.meta.url)

/** `millrace` and its subpaths are the sources here. */
export function resolve(specifier, context, next) {
  const subpath = /^millrace(?:\/(.+))?$/.exec(specifier)
  if (subpath === null) return next(specifier, context)
  return next(new URL(subpath[1] === undefined ? 'index.ts' : `${subpath[1]}/index.ts`, src).href, context)
}

export function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
  const { outputText } = ts.transpileModule(readFileSync(new URL(url), 'utf8'), {
    fileName: fileURLToPath(url),
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
    },
  })
  return { format: 'module', source: outputText, shortCircuit: true }
}
