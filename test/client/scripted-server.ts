/* A real HTTP server that says what a test tells it to: for what the real one cannot be made to do at a given moment, such as to cut a
 * connection after it has done its work. What is not scripted is answered as by a server where all goes well. */
import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { type ErrorCode, errorStatus } from '../../src/errors.ts'
import type { OutgoingMessage } from '../../src/wire.ts'

type Verb = 'queue' | 'messages' | 'receive' | 'ack' | 'nack' | 'extend'

interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  // biome-ignore lint/suspicious/noExplicitAny: tests know what they sent
  readonly body: any
  /** Resolves when the client has gone before it got an answer. */
  readonly abandoned: Promise<void>
}

export type Reply = (response: ServerResponse, request: SeenRequest) => unknown

export interface ScriptedServer {
  readonly url: string
  /** All requests of a verb so far, in order. */
  seen(verb: Verb): readonly SeenRequest[]
  /** The nth request of a verb, counted from 1, once it has come. */
  request(verb: Verb, nth: number): Promise<SeenRequest>
}

/** The replies of each verb are used up in order. */
export async function serve(t: TestContext, script: Partial<Record<Verb, Reply[]>>): Promise<ScriptedServer> {
  const requests: Record<Verb, SeenRequest[]> = { queue: [], messages: [], receive: [], ack: [], nack: [], extend: [] }
  const arrivals = new EventEmitter()
  const server = createServer(async (incoming, response) => {
    const { method = '', url = '', headers } = incoming
    const text = (await incoming.toArray()).join('')
    const body = text === '' ? undefined : JSON.parse(text)
    const abandoned = new Promise<void>((resolve) => {
      response.on('close', () => response.writableFinished || resolve())
    })
    const seen = { method, path: url, headers, body, abandoned }
    const verb = verbOf(url)
    requests[verb].push(seen)
    arrivals.emit(verb)
    // Acks that go along with a receive are acks, too.
    if (verb === 'receive' && body.acks) {
      requests.ack.push({ ...seen, body: { receipts: body.acks } })
      arrivals.emit('ack')
    }
    const reply = script[verb]?.shift() ?? usualReply[verb]
    await reply(response, seen)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: (verb) => requests[verb],
    async request(verb, nth) {
      while (requests[verb].length < nth) await once(arrivals, verb)
      return requests[verb][nth - 1] as SeenRequest
    },
  }
}

function verbOf(url: string): Verb {
  const last = /\/([^/?]*)(\?|$)/.exec(url.replace(/^.*\/queues\/[^/?]*/, ''))?.[1] ?? ''
  return ['messages', 'receive', 'ack', 'nack', 'extend'].includes(last) ? (last as Verb) : 'queue'
}

export const json =
  (body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Reply =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))

export const problem = (code: ErrorCode, headers: Readonly<Record<string, string>> = {}): Reply => {
  const status = errorStatus[code]
  const body = { type: 'about:blank', title: code, status, detail: `told to say ${code}`, code, requestId: 'request-1' }
  return json(body, status, { 'content-type': 'application/problem+json', 'x-request-id': 'request-1', ...headers })
}

/** What a proxy in between says. */
export const html =
  (status: number): Reply =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Not from Postbag</h1>')

/** The connection is reset before an answer, whatever the server may have done. */
export const cut: Reply = (response) => response.socket?.resetAndDestroy()

/** The connection ends in the middle of the answer. */
export const cutShort: Reply = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  response.write('{"messages":', () => response.socket?.destroy())
}

/** No answer, ever. */
export const silence: Reply = () => {}

/** An answer as soon as the promise resolves. */
export const after =
  (moment: Promise<unknown>, reply: Reply): Reply =>
  (response, request) =>
    moment.then(() => reply(response, request))

/** A received message per id: its body is `{ "id": … }`, its receipt "<id>.1". */
export const messages = (...ids: readonly string[]): Reply => messagesOf(undefined, ...ids)

/** The same, in one group. */
export const messagesOf = (group: string | undefined, ...ids: readonly string[]): Reply =>
  receiveAnswer(
    ids.map((id) => ({
      group,
      id,
      receipt: `${id}.1`,
      encoding: 'json',
      body: { id },
      headers: {},
      priority: 0,
      attempts: 1,
      sentAt: '2026-01-01T00:00:00.000Z',
      firstReceivedAt: '2026-01-01T00:00:01.000Z',
      leasedUntil: '2026-01-01T00:00:31.000Z',
    })),
  )

/** The answer to a receive whose acks all have the same outcome. */
export const receiveAnswer =
  (messages: readonly object[], outcome = 'ok'): Reply =>
  (response, request) => {
    const acks = request.body.acks?.map((receipt: string) => ({ receipt, outcome }))
    json({ messages, acks })(response, request)
  }

/** Every receipt has the same outcome. */
export const outcome =
  (outcome: string): Reply =>
  (response, request) =>
    json({ results: request.body.receipts.map((receipt: string) => ({ receipt, outcome })) })(response, request)

const usualReply: Record<Verb, Reply> = {
  queue: problem('queue_not_found'),
  messages: (response, request) =>
    json({
      messages: request.body.messages.map((_: OutgoingMessage, index: number) => ({
        id: `${index + 1}`,
        duplicate: false,
      })),
    })(response, request),
  // It does not wait when it acks.
  receive: (response, request) => (request.body.acks ? receiveAnswer([]) : silence)(response, request),
  ack: outcome('ok'),
  nack: outcome('ok'),
  extend: outcome('ok'),
}
