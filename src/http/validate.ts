/* Checking a request against its schema, and saying what is wrong: subject, rule, got. */
import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { QueueError } from '../errors.ts'

/** The checked value.
 * @throws QueueError request_invalid, or batch_too_large for an array with too many elements. */
export function validate<Schema extends z.ZodType>(schema: Schema, value: unknown, whole: string): z.infer<Schema> {
  const result = schema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  const [issue] = result.error.issues
  if (!issue) throw new QueueError('request_invalid', `${whole} is invalid`)
  const tooMany = issue.code === 'too_big' && issue.origin === 'array'
  throw new QueueError(
    tooMany ? 'batch_too_large' : 'request_invalid',
    `${subject(issue.path) || whole} ${issue.message}`,
  )
}

/** The parameters of a request's query: a text, or several where a name stands several times. */
export function queryOf(context: Context): Readonly<Record<string, string | readonly string[]>> {
  const named = Object.entries(context.req.queries())
  return Object.fromEntries(named.map(([name, texts]) => [name, texts.length === 1 ? (texts[0] ?? '') : texts]))
}

/** What a client that goes away in the middle of its request leaves behind: nobody reads the answer, and nothing is wrong here.
 * @param read does nothing but read the body: what it throws is that the body ended early, unless it is a QueueError. (The request's signal
 * cannot tell: on Deno it is not aborted then.) */
export async function readingBody<Read>(read: () => Promise<Read>): Promise<Read> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof QueueError) throw error
    throw new QueueError('request_invalid', 'the request body must arrive as a whole, got a part of it', {
      cause: error,
    })
  }
}

/** The bytes of a request's body.
 * @throws QueueError request_invalid where they are compressed: they would be kept without a word of how, and no receiver could read them. */
export async function bytesOfBody(context: Context): Promise<ArrayBuffer> {
  const encoding = context.req.header('content-encoding')
  if (encoding && encoding.toLowerCase() !== 'identity') {
    throw new QueueError(
      'request_invalid',
      `content-encoding must not be given: bodies are taken as they are, got ${encoding.slice(0, 80)}`,
    )
  }
  return readingBody(() => context.req.arrayBuffer())
}

/** The text of a request's body.
 * @throws QueueError json_invalid for bytes that are not UTF-8: a decoder that repairs them would change the message. */
export function utf8(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new QueueError('json_invalid', 'the request body must be JSON in UTF-8, got other bytes', { cause: error })
  }
}

/** The JSON of a request's body; an empty one counts as {}.
 * @throws QueueError json_invalid. */
export function parseJson(text: string): unknown {
  if (text === '') return {}
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new QueueError(
      'json_invalid',
      `the request body must be JSON: ${error instanceof Error ? error.message : error}`,
    )
  }
}

/** messages[3].priority */
function subject(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (before, key) =>
      typeof key === 'number' ? `${before}[${key}]` : before ? `${before}.${String(key)}` : String(key),
    '',
  )
}
