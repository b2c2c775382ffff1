/* Building blocks of the request schemas. Each says its rule in words ("must be between 0 and 43200, got 50000"); the subject is the
 * path, put before it by http/validate.ts. */
import { z } from '@hono/zod-openapi'

/** What was given, short enough for an error message. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

const rule = (words: string) => ({
  error: (issue: { input?: unknown }) => `must be ${words}, got ${shown(issue.input)}`,
})

/** A number of seconds, fractions allowed. */
export function seconds(max: number, description: string) {
  const between = rule(`between 0 and ${max}`)
  return z.number(rule('a number')).min(0, between).max(max, between).optional().describe(description)
}

export function wholeNumber(min: number, max: number, description: string) {
  const between = rule(`between ${min} and ${max}`)
  return z.int(rule('a whole number')).min(min, between).max(max, between).optional().describe(description)
}

/** A number in a query string, where everything is text. */
export function fromText<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((value) => {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN
    return Number.isNaN(number) ? value : number
  }, schema)
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
