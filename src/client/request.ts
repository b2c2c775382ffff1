/* request: send a message that asks, and wait for its reply, in as many requests as that takes.
 *
 * The first sends and waits; if it is answered without a reply, others ask for that, by the id they got. Each waits at the server for what
 * is left of the time. One that is answered at once all the same (the server stops, or a platform cuts its waits short) is followed by a
 * pause. While the server is away they go on until the time is over: work that was asked for once is not to be asked for again. So the
 * first is repeated, too, with its dedup id, as long as the server surely remembers that; not with `retries: 0`, which means no dedup id.
 * sendRequest is the first of them, and does not wait. */
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
  /** How long to wait for the reply altogether, in seconds, 0 – 604800. A server that does not answer at all is noticed when the client's
   * own timeoutSeconds have passed besides. */
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
/** Safely less than dedup ids are remembered by default: a request that is sent again later would be another. */
const RESEND_MILLISECONDS = 240_000

/** What is sent. */
interface Asked {
  readonly dedupId?: string | undefined
}

export async function request<Answer>(
  queue: RemoteQueue,
  body: unknown,
  options: RequestOptions<Answer>,
): Promise<Reply<Answer>> {
  const { timeoutSeconds = 20, schema, signal, ...message } = options
  mustBeBetween('timeoutSeconds', timeoutSeconds, 0, MAX_KEEP_SECONDS)
  const end = queue.connection.effects.now() + timeoutSeconds * 1000
  const keepSeconds = Math.max(timeoutSeconds, DEFAULT_KEEP_SECONDS)
  const asked = await toAsk(queue, body, { keepSeconds, ...defined(message) })
  const { reply, id, messageId } = await awaitReply(queue, '', asked, end, signal)
  if (reply) return toReply(id, messageId, reply, schema)
  throw new QueueError('reply_overdue', `message ${messageId} must be replied to within ${timeoutSeconds} s`, {
    cause: { id },
  })
}

export async function sendRequest(
  queue: RemoteQueue,
  body: unknown,
  { signal, ...message }: SendRequestOptions,
): Promise<RequestResponse> {
  return ask(queue, '', await toAsk(queue, body, message), 0, signal)
}

async function toAsk(
  { connection, schema }: RemoteQueue,
  body: unknown,
  { encoding, ...message }: Omit<SendRequestOptions, 'signal'>,
): Promise<Asked> {
  await validate(schema, body)
  return { ...ownId(connection), ...defined(message), ...encodeBody(body, encoding) }
}

export async function fetchReply<Answer>(
  queue: RemoteQueue,
  id: string,
  { signal, timeoutSeconds = 0, schema }: FetchOptions<Answer>,
): Promise<Reply<Answer> | undefined> {
  mustBeBetween('timeoutSeconds', timeoutSeconds, 0, MAX_KEEP_SECONDS)
  const end = queue.connection.effects.now() + timeoutSeconds * 1000
  const { reply, messageId } = await awaitReply(queue, id, undefined, end, signal)
  return reply && toReply(id, messageId, reply, schema)
}

/** Ask until there is a reply, or the time is over. @param asked what to send, where that is not done yet: then id is '' */
async function awaitReply(
  queue: RemoteQueue,
  id: string,
  asked: Asked | undefined,
  end: number,
  signal: AbortSignal | undefined,
): Promise<RequestResponse> {
  const { retries, effects } = queue.connection
  const { now, sleep, random } = effects
  const resendEnd = retries > 0 ? now() + RESEND_MILLISECONDS : 0
  let answer: RequestResponse = { id, messageId: '' }
  let failure: QueueError | undefined
  let quick = 0
  do {
    const started = now()
    const waitSeconds = Math.min(Math.max(end - started, 0) / 1000, MAX_WAIT_SECONDS)
    try {
      answer = await ask(queue, answer.id, asked, waitSeconds, signal)
      if (answer.reply) return answer
      failure = undefined
    } catch (error) {
      if (!(error instanceof QueueError)) throw error
      failure = error
      if (!isPassing(error)) break
    }
    quick = failure || now() - started < Math.min(waitSeconds * 1000, 1000) ? quick + 1 : 0
    if (quick > 0) {
      const pause = backoffMilliseconds(quick, failure?.retryAfterSeconds ?? 0, random)
      await sleep(Math.min(pause, Math.max(end - now(), 0)), signal ?? new AbortController().signal)
    }
  } while (now() < (answer.id ? end : Math.min(end, resendEnd)))
  if (!failure) return answer
  if (!asked || !(answer.id || isPassing(failure))) throw failure
  // How to come by the reply later.
  const cause = { id: answer.id || undefined, dedupId: asked.dedupId, cause: failure.cause }
  throw new QueueError(failure.code, failure.message, { cause })
}

/** With its id, for the reply; without, what is asked is sent. What waits is tried once: its caller knows how long the next may wait. */
async function ask(
  { connection, path }: RemoteQueue,
  id: string,
  asked: Asked | undefined,
  waitSeconds: number,
  signal: AbortSignal | undefined,
): Promise<RequestResponse> {
  const sends = asked && !id
  const { data } = await connection.call<RequestResponse>(
    sends ? 'POST' : 'GET',
    path + (sends ? '/request' : `${pathTo('replies', id)}?waitSeconds=${waitSeconds}`),
    sends ? { ...asked, waitSeconds } : undefined,
    {
      signal,
      timeoutSeconds: connection.timeoutSeconds + waitSeconds,
      ...(waitSeconds > 0 && { retry: () => false }),
    },
  )
  return data
}

async function toReply<Answer>(
  id: string,
  messageId: string,
  reply: WireReply,
  schema: StandardSchema | undefined,
): Promise<Reply<Answer>> {
  const body = await validate(schema, decodeBody(reply.encoding, reply.body))
  return { ...reply, id, messageId, body: body as Answer }
}
