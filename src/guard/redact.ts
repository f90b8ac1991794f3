/** What a log may say of a parameter: its type, and its size where it has one. */
export function redacted(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'string') return `string(${value.length})`
  if (Array.isArray(value)) return `array(${value.length})`
  if (value instanceof Date) return 'date'
  if (ArrayBuffer.isView(value)) return `bytes(${value.byteLength})`
  return typeof value
}
