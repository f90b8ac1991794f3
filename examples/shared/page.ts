import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

const contentTypes = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

type Extension = keyof typeof contentTypes

/** A file of a page: `style.css`. */
export type PageFile = `${string}.${Extension}`

/** The page's own files, its own service, and nothing else; no script or style inside the HTML. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/**
 * Serves the files of a page from a folder, `index.html` at `/`. They are read once, at the start; a browser
 * asks whether it has them still.
 */
export function servePage(app: FastifyInstance, folder: URL, files: readonly PageFile[]): void {
  for (const file of files) {
    const content = readFileSync(new URL(file, folder))
    const etag = `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`
    const type = contentTypes[file.slice(file.lastIndexOf('.') + 1) as Extension]
    app.get(file === 'index.html' ? '/' : `/${file}`, async (request, reply) => {
      reply
        .header('content-security-policy', contentSecurityPolicy)
        .header('x-content-type-options', 'nosniff')
        .header('referrer-policy', 'no-referrer')
        .header('cache-control', 'no-cache')
        .header('etag', etag)
        .type(type)
      return request.headers['if-none-match'] === etag ? reply.code(304).send() : content
    })
  }
}
