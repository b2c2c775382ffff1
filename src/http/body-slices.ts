/* Finding the bodies in the text of a send request (and the data of events), so that a JSON body is stored byte for byte: JSON.parse followed by
 * JSON.stringify would change 1.0 to 1, 12345678901234567890 to 12345678901234567000, and every space.
 *
 * Pure. The text must be valid JSON (the door has parsed it before); the scanner then only needs to know strings and brackets. */

/** The source text of each message's body in `{"messages":[{"body":…},…]}`, or of the single one in `{"body":…}`; undefined for a
 * message without one. A key that stands twice counts the last time, as with JSON.parse. */
export function bodySlices(text: string): readonly (string | undefined)[] {
  const request = members(text, skipSpace(text, 0))
  const list = request.get('messages')
  if (!list) return [slice(text, request.get('body'))]
  if (text[list.start] !== '[') return []
  return elements(text, list.start).map((element) =>
    text[element.start] === '{' ? slice(text, members(text, element.start).get('body')) : undefined,
  )
}

/** The source text of the member of this name of an object, or of each object in an array; undefined where there is none. */
export function memberSlices(text: string, name: string): readonly (string | undefined)[] {
  const start = skipSpace(text, 0)
  const objects = text[start] === '[' ? elements(text, start) : [{ start }]
  return objects.map((object) => slice(text, members(text, object.start).get(name)))
}

interface Span {
  readonly start: number
  readonly end: number
}

function slice(text: string, span: Span | undefined): string | undefined {
  return span && text.slice(span.start, span.end)
}

/** Where the values of an object's members stand; nothing if it is no object. */
function members(text: string, open: number): ReadonlyMap<string, Span> {
  const found = new Map<string, Span>()
  if (text[open] !== '{') return found
  let at = skipSpace(text, open + 1)
  while (text[at] !== '}') {
    const keyEnd = valueEnd(text, at)
    const key: string = JSON.parse(text.slice(at, keyEnd))
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const end = valueEnd(text, start)
    found.set(key, { start, end })
    at = skipComma(text, end)
  }
  return found
}

function elements(text: string, open: number): readonly Span[] {
  const found: Span[] = []
  let start = skipSpace(text, open + 1)
  while (text[start] !== ']') {
    const end = valueEnd(text, start)
    found.push({ start, end })
    start = skipComma(text, end)
  }
  return found
}

/** The position behind the value that starts here. */
function valueEnd(text: string, start: number): number {
  let depth = 0
  let at = start
  do {
    const character = text[at]
    if (character === '"') at = stringEnd(text, at)
    else {
      if (character === '{' || character === '[') depth++
      else if (character === '}' || character === ']') depth--
      else if (depth === 0) return scalarEnd(text, at)
      at++
    }
  } while (depth > 0)
  return at
}

function stringEnd(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

const afterScalar = /[\s,\]}]|$/g

function scalarEnd(text: string, start: number): number {
  afterScalar.lastIndex = start
  return afterScalar.exec(text)?.index ?? text.length
}

const nonSpace = /\S|$/g

function skipSpace(text: string, start: number): number {
  nonSpace.lastIndex = start
  return nonSpace.exec(text)?.index ?? text.length
}

function skipComma(text: string, start: number): number {
  const at = skipSpace(text, start)
  return text[at] === ',' ? skipSpace(text, at + 1) : at
}
