/* Patterns: RabbitMQ's policies have regular expressions that may match anywhere in a name, Postbag's the name with * for any characters.
 * Pure. Only what means exactly the same is rewritten. */
import { queuesPattern } from '../../limits.ts'

/** The same for names that Postbag allows; undefined if there is none: `^orders\.` is `orders.*`, `mail` is `*mail*`. */
export function starPattern(expression: string): string | undefined {
  // Names are never empty, so one character or more is any.
  if (/^\^?\.\+\$?$/.test(expression)) return '*'
  const fromStart = expression.startsWith('^')
  const toEnd = expression.endsWith('$') && !expression.endsWith('\\$')
  const inner = expression.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined)
  const parts = inner.match(/\.\*|\\[.\-_]|[A-Za-z0-9_-]/g) ?? []
  // (What is none of these, a quantifier or a class, say, is left over.)
  if (parts.join('') !== inner) return undefined
  const body = parts.map((part) => (part === '.*' ? '*' : part.replace('\\', ''))).join('')
  const pattern = `${fromStart ? '' : '*'}${body}${toEnd ? '' : '*'}`.replace(/\*+/g, '*')
  return queuesPattern.test(pattern) ? pattern : undefined
}

/** Whether a name matches a pattern of Postbag's. */
export function matches(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return name === pattern
  if (!name.startsWith(first) || name.length < first.length + last.length || !name.endsWith(last)) return false
  const end = name.length - last.length
  let at = first.length
  for (const part of rest) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** Negative if the first is the more specific one, as Postbag sees it (docs/policies.md). */
export function bySpecificity(a: NamedPattern, b: NamedPattern): number {
  const isExact = ({ pattern }: NamedPattern) => Number(!pattern.includes('*'))
  const prefix = ({ pattern }: NamedPattern) => pattern.split('*', 1)[0]?.length ?? 0
  const literal = ({ pattern }: NamedPattern) => pattern.replaceAll('*', '').length
  return isExact(b) - isExact(a) || prefix(b) - prefix(a) || literal(b) - literal(a) || (a.name < b.name ? -1 : 1)
}

export interface NamedPattern {
  readonly name: string
  readonly pattern: string
}
