/* From what a person or a pipe gives to the JSON text of a message, with its body byte for byte.
 *
 *   an argument or a file   JSON if it is JSON; text otherwise. What begins like JSON ({ [ ") but is none is refused, because it is more
 *                           likely a typing error than a text: --text sends it as it is.
 *   a line of NDJSON        JSON, and nothing else
 *   a line with --lines     text; bytes if it is not text that Postgres can hold (not UTF-8, or with U+0000)
 *
 * Pure. JSON is embedded as it stands, never parsed and printed again: that would change 1.0, 12345678901234567890 and every space. */

/** A body as it stands in the JSON of a request. */
export interface WireBody {
  readonly encoding: 'json' | 'text' | 'base64'
  /** JSON: the value itself, or the string that holds the text or the base64. */
  readonly json: string
}

/** Why a body is none, as a sentence without its subject: "is not JSON: …". */
export class BadBody extends Error {}

/** How much text is shown of a body that is refused. */
const shownLength = 60

/** The body of an argument.
 * @throws BadBody for what begins like JSON and is none. */
export function argumentBody(text: string): WireBody {
  const problem = jsonProblem(text)
  if (problem === undefined) return { encoding: 'json', json: text }
  if (/^\s*[{["]/.test(text)) throw new BadBody(`begins like JSON, but is none (${problem}): --text sends it as text`)
  return textBody(text)
}

/** The body of a file: like an argument, or bytes. */
export function fileBody(bytes: Uint8Array): WireBody {
  const text = asText(bytes)
  return text === undefined ? bytesBody(bytes) : argumentBody(text)
}

/** The body of a line of NDJSON.
 * @throws BadBody */
export function ndjsonBody(bytes: Uint8Array): WireBody {
  const text = asText(bytes)
  if (text === undefined) throw new BadBody('is not JSON, because it is not UTF-8 text: --lines sends any lines')
  const problem = jsonProblem(text)
  if (problem !== undefined) throw new BadBody(`is not JSON (${problem}): --lines sends lines as text`)
  return { encoding: 'json', json: text }
}

/** The body of any line or file that is to be text: bytes if it cannot be. */
export function plainBody(bytes: Uint8Array): WireBody {
  const text = asText(bytes)
  return text === undefined ? bytesBody(bytes) : textBody(text)
}

export function textBody(text: string): WireBody {
  return { encoding: 'text', json: JSON.stringify(text) }
}

/** The JSON of one message. */
export function messageJson({ encoding, json }: WireBody, options: object): string {
  return `${JSON.stringify({ ...options, encoding }).slice(0, -1)},"body":${json}}`
}

function bytesBody(bytes: Uint8Array): WireBody {
  return { encoding: 'base64', json: `"${Buffer.from(bytes).toString('base64')}"` }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text, or undefined if Postgres could not hold it or a decoder would change it. */
function asText(bytes: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(bytes)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

function jsonProblem(text: string): string | undefined {
  try {
    JSON.parse(text)
    return undefined
  } catch (error) {
    const { message } = error as Error
    return message.length > shownLength * 2 ? `${message.slice(0, shownLength * 2)}…` : message
  }
}
