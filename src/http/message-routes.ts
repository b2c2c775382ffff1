/* /v1/queues/{queue}/messages: send and look. */
import type { Access } from '../config.ts'
import { QueueError } from '../errors.ts'
import { getMessage, peek } from '../queue/look.ts'
import type { Parcel } from '../queue/message.ts'
import { getMessage, peek, queueStats } from '../queue/look.ts'
import { send } from '../queue/send.ts'
import { type Door, endpoint, jsonText } from './door.ts'
import { messageJson, messagesJson } from './message-json.ts'
import {
  OutgoingMessage,
  PeekedMessage,
  PeekQuery,
  PeekResponse,
  RawSendQuery,
  SendRequest,
  SendResponse,
} from './message-schemas.ts'
import { parcelOf } from './parcel.ts'
import { keepingCount } from './queue-full.ts'
import { rawContent } from './raw-send.ts'
import { parseJson, queryOf, utf8, validate } from './validate.ts'
import { outgoingOf } from './parcels.ts'

const shapes = { raw: RawSendQuery, batch: SendRequest, one: OutgoingMessage }

export function mountMessageRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/messages',
      summary: 'Send messages, all or none: a batch, one message object, or (with another content type) the raw body.',
      needs: 'send',
      query: RawSendQuery,
      body: SendRequest.or(OutgoingMessage),
      readsBody: true,
      answer: SendResponse,
      status: 201,
    },
    async (input) => {
      const parcels = await parcelsOf(input.context)
      const { executor, queue } = input
      const messages = await keepingCount(executor, queue, send(executor, queue, parcels, { alone: true }))
      const { parcels } = await outgoingOf(input.context, shapes)
      const messages = await send(input.executor, input.queue, parcels, { alone: true }).catch(async (error) => {
        // The count that a refusal rests on is undone with it. Count once more and keep that, so that the next refusals need none.
        if (error instanceof QueueError && error.code === 'queue_full') await queueStats(input.executor, input.queue)
        throw error
      })
      input.hub.poke(input.queue, messages.length)
      return input.context.json({ messages }, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/messages',
      summary:
        'Look at messages without taking them, in the order they were sent, a page at a time: all, or those that fit.',
      needs: 'receive',
      query: PeekQuery,
      answer: PeekResponse,
    },
    async ({ queue, query: { header, ...request }, executor, context }) => {
      const { messages, next } = await peek(executor, queue, { ...request, ...(header && { headers: header }) })
      return jsonText(context, messagesJson(messages, { next }))
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/messages/{id}',
      summary: 'Look at one message.',
      needs: 'receive',
      answer: PeekedMessage,
    },
    async ({ queue, id, executor, context }) => jsonText(context, messageJson(await getMessage(executor, queue, id))),
  )
}

async function parcelsOf(context: Context<DoorEnv>): Promise<readonly Parcel[]> {
  if (isJson(context)) return jsonParcels(utf8(await context.req.arrayBuffer()))
  const options = validate(RawSendQuery, queryOf(context), 'the query') as MessageOptions
  const given = context.req.header('content-type')
  const bytes = new Uint8Array(await context.req.arrayBuffer())
  if (given === undefined && bytes.length === 0) {
    throw new QueueError(
      'request_invalid',
      'the request must have a body, got none (an empty message needs a content type)',
    )
  }
  const contentType = given ?? 'application/octet-stream'
  return [{ ...options, contentType, ...rawContent(contentType, bytes) }]
}

function jsonParcels(text: string): readonly Parcel[] {
  const request = parseJson(text)
  const isBatch = typeof request === 'object' && request !== null && 'messages' in request
  const messages = isBatch
    ? validate(SendRequest, request, 'the request body').messages
    : [validate(OutgoingMessage, request, 'the message')]
  const bodies = bodySlices(text)
  return (messages as readonly WireMessage[]).map((message, index) => parcelOf(message, bodies[index]))
}
