/* Building blocks of the request schemas. Each says its rule in words ("must be between 0 and 43200, got 50000"); the subject is the
 * path, put before it by http/validate.ts. */
import { z } from '@hono/zod-openapi'
import { maxBatch, maxHeadersBytes, maxRoutingKeyLength, queueNamePattern, queueNameRule } from '../limits.ts'

/** Of what was given so many characters are shown in an error message. */
const mostShown = 80

/** What was given, short enough for an error message. */
export function shown(value: unknown): string {
  // (JSON, which has no word for it, would say null.)
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  const text = JSON.stringify(beginningOf(value)) ?? 'nothing'
  return text.length > mostShown ? `${text.slice(0, mostShown - 3)}…` : text
}

/** As much of a JSON value as can be shown. JSON may be read that is nested too deep to be written: that overflows the stack, and where it is
 * Bun's, a second later. */
function beginningOf(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return value.slice(0, mostShown)
  if (typeof value !== 'object' || value === null) return value
  if (depth === mostShown) return null
  if (Array.isArray(value)) return value.slice(0, mostShown).map((element) => beginningOf(element, depth + 1))
  const fields = Object.entries(value).slice(0, mostShown)
  return Object.fromEntries(fields.map(([name, element]) => [name, beginningOf(element, depth + 1)]))
}

/** The error of a schema, from its rule. */
export const rule = (words: string) => ({
  error: (issue: { input?: unknown }) => `must be ${words}, got ${shown(issue.input)}`,
})

/** A number, fractions allowed. */
export function number(min: number, max: number, description: string) {
  const between = rule(`between ${min} and ${max}`)
  return z.number(rule('a number')).min(min, between).max(max, between).optional().describe(description)
}

/** A number of seconds, fractions allowed. */
export function seconds(max: number, description: string) {
  return number(0, max, description)
}

export function wholeNumber(min: number, max: number, description: string) {
  const between = rule(`between ${min} and ${max}`)
  return z.int(rule('a whole number')).min(min, between).max(max, between).optional().describe(description)
}

/** A number in a query string, where everything is text. */
export function fromText<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((value) => {
    const meant = typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN
    return Number.isNaN(meant) ? value : meant
  }, schema)
}

export function flag(description: string) {
  return z.boolean(rule('true or false')).optional().describe(description)
}

/** A flag in a query string. */
export function flagFromText(description: string) {
  return z.preprocess((value) => value === 'true' || (value === 'false' ? false : value), flag(description))
}

/** One of several words. */
export function oneOf<const Words extends readonly [string, string, ...string[]]>(words: Words, description: string) {
  const listed = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
  return z.enum(words, rule(listed)).optional().describe(description)
}

/** What text must be for Postgres to hold it. */
export const storable = 'well-formed text without U+0000'

export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

export function shortText(max: number, description: string) {
  const between = rule(`1 to ${max} characters of ${storable}`)
  return z
    .string(rule('a string'))
    .min(1, between)
    .max(max, between)
    .refine(isStorable, between)
    .optional()
    .describe(description)
}

/** What must be given. */
export function required<Schema extends z.ZodType>(schema: z.ZodOptional<Schema>) {
  return schema.unwrap().describe(schema.description ?? '')
}

/** A moment that means the same everywhere. */
export function time(description: string) {
  return z.iso
    .datetime({ offset: true, ...rule('an ISO 8601 time such as 2026-01-31T12:00:00Z') })
    .optional()
    .describe(description)
}

/** The name of another queue. */
export function otherQueue(description: string) {
  return z.string(rule('a string')).regex(queueNamePattern, rule(queueNameRule)).optional().describe(description)
}

/** The name of another exchange: they are named like queues. */
export const otherExchange = (description: string) => otherQueue(description)

/** A text that may be empty. */
export function anyText(max: number, description: string) {
  const atMost = rule(`at most ${max} characters of ${storable}`)
  return z.string(rule('a string')).max(max, atMost).refine(isStorable, atMost).optional().describe(description)
}

export const routingKey = (description: string) => anyText(maxRoutingKeyLength, description)

/** Bytes of headers as Postgres counts them: it prints a space after each colon and each comma. */
export function bytesOfHeaders(headers: Readonly<Record<string, string>>): number {
  const spaces = Math.max(0, 2 * Object.keys(headers).length - 1)
  return new TextEncoder().encode(JSON.stringify(headers)).length + spaces
}

/** Of a header called so a record of zod says nothing, and drops it. */
function withoutProto(given: unknown, context: z.RefinementCtx): unknown {
  if (typeof given === 'object' && given !== null && Object.hasOwn(given, '__proto__')) {
    context.addIssue({ code: 'custom', message: 'must have other names than __proto__, which cannot be kept' })
  }
  return given
}

/** Strings by name. Their bytes are said in words: JSON Schema has no word for them. */
export function headers(description = '') {
  const strings = z.record(z.string(), z.string(rule('a string')), rule('an object of strings'))
  return z
    .preprocess(withoutProto, strings)
    .superRefine((given, context) => {
      const bytes = bytesOfHeaders(given)
      if (bytes > maxHeadersBytes) {
        context.addIssue({ code: 'custom', message: `must be at most ${maxHeadersBytes} bytes of JSON, got ${bytes}` })
      }
      if (!Object.entries(given).flat().every(isStorable)) {
        context.addIssue({ code: 'custom', message: `must be ${storable}` })
      }
    })
    .optional()
    .describe(`${description} Strings by name, at most ${maxHeadersBytes} bytes of JSON.`.trimStart())
}

/** 1 – 1000 of something. */
export function batch<Schema extends z.ZodType>(schema: Schema, what: string, kind = 'an array') {
  const size = {
    error: ({ input }: { input?: unknown }) =>
      `must be between 1 and ${maxBatch} ${what}, got ${(input as unknown[]).length}`,
  }
  return z.array(schema, rule(kind)).min(1, size).max(maxBatch, size)
}

/** An object that refuses fields it does not know, and names those it does. */
export function fields<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `has the unknown field ${(issue['keys'] as string[])[0]}: known are ${known || 'none'}`
        : `must be an object, got ${shown(issue.input)}`,
  })
}
