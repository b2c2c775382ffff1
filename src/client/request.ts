/* request: send a message that asks, and wait for its reply, in as many requests as that takes.
 *
 * The first sends and waits; if it is answered without a reply, others ask for that, by the id they got. Each waits at the server. One that
 * is answered at once all the same (the server stops, or a platform cuts its waits short) is followed by a pause. While the server is away
 * they go on until the time is over: work that was asked for once is not to be asked for again. sendRequest is the first of them, and does
 * not wait. */
import { QueueError } from '../errors.ts'
import type { RequestRequest, RequestResponse, Reply as WireReply } from '../wire.ts'
import { backoffMilliseconds } from './backoff.ts'
import { mustBeBetween } from './bounds.ts'
import { type CallOptions, isPassing } from './connection.ts'
import { decodeBody, encodeBody } from './content.ts'
import { defined, type Given } from './effects.ts'
import { pathTo } from './path.ts'
import type { RemoteQueue } from './remote.ts'
import { type StandardSchema, validate } from './schema.ts'
import { type MessageSettings, ownId } from './send.ts'

export interface FetchOptions<Answer> extends CallOptions {
  /** How long to wait for the reply altogether, in seconds, 0 – 604800. */
  readonly timeoutSeconds?: number | undefined
  /** Checks and types the reply's body: `request_invalid` for any other. */
  readonly schema?: StandardSchema<unknown, Answer> | undefined
}

export interface SendRequestOptions
  extends Omit<MessageSettings, 'replyTo'>,
    Given<Pick<RequestRequest, 'keepSeconds'>>,
    CallOptions {}

export interface RequestOptions<Answer> extends SendRequestOptions, FetchOptions<Answer> {}

export interface Reply<Answer = unknown> extends Omit<WireReply, 'body'> {
  /** For fetching it again. */
  readonly id: string
  /** Of the message that asked. */
  readonly messageId: string
  readonly body: Answer
}

const DEFAULT_KEEP_SECONDS = 3600
const MAX_KEEP_SECONDS = 604_800
const MAX_WAIT_SECONDS = 20

export async function request<Answer>(
  queue: RemoteQueue,
  body: unknown,
  options: RequestOptions<Answer>,
): Promise<Reply<Answer>> {
  const { timeoutSeconds = 20, schema, ...message } = options
  mustBeBetween('timeoutSeconds', timeoutSeconds, 0, MAX_KEEP_SECONDS)
  const end = queue.connection.effects.now() + timeoutSeconds * 1000
  const keepSeconds = Math.max(timeoutSeconds, DEFAULT_KEEP_SECONDS)
  const first = await sendRequest(queue, body, { keepSeconds, ...defined(message) }, timeoutSeconds)
  const answer = first.reply
    ? first
    : await awaitReply(queue, first.id, end, options.signal).catch((error) => {
        throw error instanceof QueueError ? tellingId(error, first.id) : error
      })
  if (answer.reply) return toReply(answer, answer.reply, schema)
  throw new QueueError('reply_overdue', `message ${first.messageId} must be replied to within ${timeoutSeconds} s`, {
    cause: { id: first.id },
  })
}

/** For fetchReply. */
function tellingId({ code, message, cause }: QueueError, id: string): QueueError {
  return new QueueError(code, message, { cause: { id, cause } })
}

/** @param waitSeconds how long to wait for the reply at most: the server's longest wait is the end of it. */
export async function sendRequest(
  queue: RemoteQueue,
  body: unknown,
  { signal, encoding, ...message }: SendRequestOptions,
  waitSeconds = 0,
): Promise<RequestResponse> {
  await validate(queue.schema, body)
  const asked = {
    ...ownId(queue.connection),
    ...defined(message),
    ...encodeBody(body, encoding),
  }
  return ask(queue, 'POST', '/request', asked, Math.min(waitSeconds, MAX_WAIT_SECONDS), signal)
}

export async function fetchReply<Answer>(
  queue: RemoteQueue,
  id: string,
  { signal, timeoutSeconds = 0, schema }: FetchOptions<Answer>,
): Promise<Reply<Answer> | undefined> {
  mustBeBetween('timeoutSeconds', timeoutSeconds, 0, MAX_KEEP_SECONDS)
  const end = queue.connection.effects.now() + timeoutSeconds * 1000
  const answer = await awaitReply(queue, id, end, signal, true)
  return answer.reply && toReply(answer, answer.reply, schema)
}

/** Ask until there is a reply, or the time is over. @param once whether to ask though it is over already */
async function awaitReply(
  queue: RemoteQueue,
  id: string,
  end: number,
  signal: AbortSignal | undefined,
  once = false,
): Promise<RequestResponse> {
  const { now, sleep, random } = queue.connection.effects
  let answer: RequestResponse = { id, messageId: '' }
  let failure: QueueError | undefined
  let quick = 0
  for (let mayAsk = once || now() < end; mayAsk && !answer.reply; mayAsk = now() < end) {
    const started = now()
    const waitSeconds = Math.min(Math.max(end - started, 0) / 1000, MAX_WAIT_SECONDS)
    try {
      failure = undefined
      answer = await ask(queue, 'GET', pathTo('replies', id), undefined, waitSeconds, signal)
    } catch (error) {
      if (!isPassing(error)) throw error
      failure = error
    }
    quick = !answer.reply && now() - started < Math.min(waitSeconds * 1000, 1000) ? quick + 1 : 0
    if (quick > 0) {
      const pause = Math.min(backoffMilliseconds(quick, 0, random), Math.max(end - now(), 0))
      await sleep(pause, signal ?? new AbortController().signal)
    }
  }
  if (failure) throw failure
  return answer
}

async function ask(
  { connection, path }: RemoteQueue,
  method: 'GET' | 'POST',
  verb: string,
  body: object | undefined,
  waitSeconds: number,
  signal: AbortSignal | undefined,
): Promise<RequestResponse> {
  const query = body ? '' : `?waitSeconds=${waitSeconds}`
  const { data } = await connection.call<RequestResponse>(
    method,
    path + verb + query,
    body && { ...body, waitSeconds },
    {
      signal,
      timeoutSeconds: connection.timeoutSeconds + waitSeconds,
    },
  )
  return data
}

async function toReply<Answer>(
  { id, messageId }: RequestResponse,
  reply: WireReply,
  schema: StandardSchema | undefined,
): Promise<Reply<Answer>> {
  const body = await validate(schema, decodeBody(reply.encoding, reply.body))
  return { ...reply, id, messageId, body: body as Answer }
}
