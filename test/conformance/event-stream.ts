/* Server-sent events as a browser reads them: the parser of the standard (WHATWG HTML, section 9.2.6) over fetch. */
import assert from 'node:assert/strict'
import { type Call, requestOf, type Target } from './target.ts'

export interface ServerEvent {
  /** "message" if the stream does not say. */
  readonly name: string
  readonly id: string
  readonly data: string
}

export interface EventStream {
  readonly headers: Headers
  /** What it has said so far besides events. */
  readonly comments: readonly string[]
  readonly retry: string | undefined
  /** The next event; undefined at a clean end. Rejects when the connection breaks. */
  next(): Promise<ServerEvent | undefined>
  /** All events until the end. */
  rest(): Promise<readonly ServerEvent[]>
}

/** Open a stream, which must be one. @param path with its query */
export async function streamOf(target: Target, path: string, options: Call = {}): Promise<EventStream> {
  const response = await fetch(`${target.url}${path}`, requestOf(target, 'GET', options))
  assert.equal(response.status, 200)
  assert.ok(response.body)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const comments: string[] = []
  let retry: string | undefined
  let text = ''

  /** The next line, or undefined at the end. */
  async function line(): Promise<string | undefined> {
    for (;;) {
      // (A CR at the end of what is there may be half of a line end.)
      const found = /^([^\r\n]*)(\r\n|\n|\r(?=[\s\S]))/.exec(text)
      if (found) {
        text = text.slice(found[0].length)
        return found[1]
      }
      const { done, value } = await reader.read()
      if (done) return undefined
      text += value
    }
  }

  async function next(): Promise<ServerEvent | undefined> {
    let name = 'message'
    let id = ''
    const data: string[] = []
    for (;;) {
      const read = await line()
      if (read === undefined) return undefined
      if (read === '') {
        if (data.length > 0) return { name, id, data: data.join('\n') }
        continue
      }
      const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(read) ?? []
      if (field === '') comments.push(value)
      else if (field === 'event') name = value
      else if (field === 'id') id = value
      else if (field === 'data') data.push(value)
      else if (field === 'retry') retry = value
      else assert.fail(`an unknown field: ${read}`)
    }
  }

  return {
    headers: response.headers,
    comments,
    get retry() {
      return retry
    },
    next,
    async rest() {
      const events: ServerEvent[] = []
      for (let event = await next(); event; event = await next()) events.push(event)
      return events
    },
  }
}
