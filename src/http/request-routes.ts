/* /v1/queues/{queue}/request, replies, reply: ask and wait for the reply, fetch a late one, reply. */
import type { Context } from 'hono'
import type { Access } from '../config.ts'
import { awaitedReply, fetchReply, isQueue, type RawReply, reply, request } from '../queue/request.ts'
import { longPoll } from '../wakeup/long-poll.ts'
import type { ReplyRequest as WireReply, RequestRequest as WireRequest } from '../wire.ts'
import { authorize } from './auth.ts'
import { bodySlices } from './body-slices.ts'
import { type Dependencies, type Door, type DoorEnv, endpoint, jsonText } from './door.ts'
import { messageJson } from './message-json.ts'
import { parcelOf } from './parcel.ts'
import { keepingCount } from './queue-full.ts'
import {
  AwaitQuery,
  PendingResponse,
  ReplyRequest,
  ReplyResponse,
  RequestRequest,
  RequestResponse,
} from './request-schemas.ts'
import { bytesOfBody, utf8 } from './validate.ts'

/** The door's handle runs each statement as a transaction of its own. */
const alone = { alone: true }

export function mountRequestRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/request',
      operationId: 'request',
      summary: 'Send a message and wait for the reply; 202 if there is none in time: fetch it later.',
      needs: 'send',
      body: RequestRequest,
      answer: RequestResponse,
      answerLater: PendingResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const { waitSeconds, keepSeconds, ...message } = body as WireRequest
      const parcel = parcelOf(message, await bodySource(context))
      const sent = await keepingCount(executor, queue, request(executor, queue, parcel, keepSeconds, alone))
      hub.poke(queue)
      const awaited = { queue, id: sent.id, waitSeconds, context, executor, hub }
      // (Who sends a request again may have a reply already.)
      const given = sent.duplicate || waitSeconds !== 0 ? await replyInTime(awaited, !sent.duplicate) : undefined
      return answer(context, { id: sent.id, messageId: sent.messageId }, given, `replies/${sent.id}`)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/replies/{reply}',
      operationId: 'fetchReply',
      summary: 'The reply to a request, and wait for it if there is none; 202 if there is none in time.',
      needs: 'send',
      query: AwaitQuery,
      answer: RequestResponse,
      answerLater: PendingResponse,
    },
    async ({ queue, reply: id, query, executor, hub, context }) => {
      let messageId = ''
      const seen = (of: string) => {
        messageId = of
      }
      const given = await replyInTime({ queue, id, ...query, context, executor, hub }, false, seen)
      if (messageId !== '') return answer(context, { id, messageId }, given, id)
      // (Whoever waited without a look, because the hub knew that there is nothing.)
      const found = await fetchReply(executor, queue, id)
      return answer(context, { id, messageId: found.messageId }, found.reply, id)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/reply',
      operationId: 'reply',
      summary: 'Reply to a request, and ack it in the same step.',
      needs: 'receive',
      body: ReplyRequest,
      answer: ReplyResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const { replyTo, receipt, ...message } = body as WireReply
      // Else whoever may receive anything could send anywhere.
      if (isQueue(replyTo)) await authorize(access, context.req.raw, 'send', replyTo)
      const parcel = { ...parcelOf(message, await bodySource(context)), replyTo, ...(receipt && { receipt }) }
      const { outcome, wakes } = await keepingCount(executor, replyTo, reply(executor, queue, parcel, alone))
      if (wakes !== undefined) hub.poke(wakes)
      return context.json({ outcome })
    },
  )
}

interface Awaited extends Dependencies {
  readonly queue: string
  readonly id: string
  readonly waitSeconds?: number | undefined
  readonly context: Context<DoorEnv>
}

/** The reply, if it comes in time and the caller is still there. */
async function replyInTime(
  { queue, id, waitSeconds = 20, context, executor, hub }: Awaited,
  hasLooked: boolean,
  seen: (messageId: string) => void = () => {},
): Promise<RawReply | undefined> {
  const [given] = await longPoll(hub, {
    queue: awaitedReply(queue, id),
    max: 1,
    waitSeconds,
    signal: context.req.raw.signal,
    hasLooked,
    look: async () => {
      const { messageId, reply } = await fetchReply(executor, queue, id)
      seen(messageId)
      return reply ? [reply] : []
    },
    // (A look takes nothing.)
    giveBack: async () => {},
  })
  return given
}

/** @param location from the address of the request on, so that it is right under any base path */
function answer(
  context: Context<DoorEnv>,
  ids: { readonly id: string; readonly messageId: string },
  reply: RawReply | undefined,
  location: string,
): Response {
  if (!reply) return context.json(ids, 202, { location })
  return jsonText(context, `${JSON.stringify(ids).slice(0, -1)},"reply":${messageJson(reply)}}`)
}

/** The text of the body's `body`. */
async function bodySource(context: Context<DoorEnv>): Promise<string | undefined> {
  return bodySlices(utf8(await bytesOfBody(context)))[0]
}
