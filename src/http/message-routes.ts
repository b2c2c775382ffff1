/* /v1/queues/{queue}/messages: send and look. */
import type { Access } from '../config.ts'
import { getMessage, peek } from '../queue/look.ts'
import { send } from '../queue/send.ts'
import { type Door, endpoint, jsonText } from './door.ts'
import { fitting, messageJson, messagesJson } from './message-json.ts'
import {
  OutgoingMessage,
  PeekedMessage,
  PeekQuery,
  PeekResponse,
  RawSendQuery,
  SendQuery,
  SendRequest,
  SendResponse,
} from './message-schemas.ts'
import { outgoingOf } from './parcels.ts'
import { keepingCount } from './queue-full.ts'

const shapes = { raw: RawSendQuery, query: SendQuery, batch: SendRequest, one: OutgoingMessage }

export function mountMessageRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/messages',
      operationId: 'send',
      summary:
        'Send messages, all or none: a batch, one message object, CloudEvents, or (with another content type) the raw body.',
      needs: 'send',
      query: RawSendQuery,
      body: SendRequest.or(OutgoingMessage),
      readsBody: true,
      eventTypes: 'request',
      answer: SendResponse,
      status: 201,
    },
    async (input) => {
      const { executor, queue, hub, context } = input
      const { parcels } = await outgoingOf(context, shapes)
      const messages = await keepingCount(executor, queue, send(executor, queue, parcels, { alone: true }))
      hub.poke(queue, messages.length)
      return context.json({ messages }, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/messages',
      operationId: 'peek',
      summary:
        'Look at messages without taking them, in the order they were sent, a page at a time: all, or those that fit.',
      needs: 'receive',
      query: PeekQuery,
      answer: PeekResponse,
    },
    async ({ queue, query: { header, ...request }, executor, context }) => {
      const { messages: found, next } = await peek(executor, queue, { ...request, ...(header && { headers: header }) })
      const messages = found.slice(0, fitting(found))
      const more = messages.length < found.length ? messages.at(-1)?.id : next
      return jsonText(context, messagesJson(messages, { next: more }))
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/messages/{id}',
      operationId: 'getMessage',
      summary: 'Look at one message.',
      needs: 'receive',
      answer: PeekedMessage,
    },
    async ({ queue, id, executor, context }) => jsonText(context, messageJson(await getMessage(executor, queue, id))),
  )
}
