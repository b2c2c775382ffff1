/* /v1/queues/{queue}/messages: send and look. */
import type { Context } from 'hono'
import type { Access } from '../config.ts'
import { QueueError } from '../errors.ts'
import { peek } from '../queue/look.ts'
import type { Parcel } from '../queue/message.ts'
import { send } from '../queue/send.ts'
import type { MessageOptions, OutgoingMessage as WireMessage } from '../wire.ts'
import { bodySlices } from './body-slices.ts'
import { type Door, type DoorEnv, endpoint, isJson, jsonText } from './door.ts'
import { messagesJson } from './message-json.ts'
import { rawContent } from './raw-send.ts'
import { OutgoingMessage, PeekQuery, PeekResponse, RawSendQuery, SendRequest, SendResponse } from './schemas.ts'
import { parseJson, utf8, validate } from './validate.ts'

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
      const messages = await send(input.executor, input.queue, parcels)
      input.hub.poke(input.queue)
      return input.context.json({ messages }, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/messages',
      summary: 'Look at messages without taking them, in the order they were sent, a page at a time.',
      needs: 'receive',
      query: PeekQuery,
      answer: PeekResponse,
    },
    async ({ queue, query, executor, context }) => {
      const { messages, next } = await peek(executor, queue, query)
      return jsonText(context, messagesJson(messages, next))
    },
  )
}

async function parcelsOf(context: Context<DoorEnv>): Promise<readonly Parcel[]> {
  if (isJson(context)) return jsonParcels(utf8(await context.req.arrayBuffer()))
  const options = validate(RawSendQuery, context.req.query(), 'the query') as MessageOptions
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
  return (messages as readonly WireMessage[]).map(({ encoding = 'json', body, ...options }, index) => ({
    ...options,
    encoding,
    body: encoding === 'json' ? (bodies[index] ?? 'null') : String(body),
  }))
}
