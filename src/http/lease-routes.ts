/* /v1/queues/{queue}/receive, ack, nack, extend: what consumers do. */
import type { Access } from '../config.ts'
import { maxAutoAcked } from '../limits.ts'
import { ackAndReceive, receive } from '../queue/receive.ts'
import { ack, extend, giveBack, nack } from '../queue/settle.ts'
import { longPoll } from '../wakeup/long-poll.ts'
import type { Settlement } from '../wire.ts'
import { type Door, endpoint, jsonText } from './door.ts'
import { eventAnswer, wantedEvents } from './event-receive.ts'
import {
  AckRequest,
  ExtendRequest,
  NackRequest,
  ReceiveQuery,
  ReceiveRequest,
  ReceiveResponse,
  SettleResponse,
} from './lease-schemas.ts'
import { fitting, messagesJson } from './message-json.ts'

/** The door's handle runs each statement as a transaction of its own. */
const alone = { alone: true }

export function mountLeaseRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/receive',
      operationId: 'receive',
      summary:
        'Lease messages, and wait for them if there are none; ack what is done in the same request. Or as CloudEvents.',
      needs: 'receive',
      query: ReceiveQuery,
      body: ReceiveRequest,
      answer: ReceiveResponse,
      eventTypes: 'answer',
    },
    async ({ queue, query, body, executor, hub, context }) => {
      const wanted = wantedEvents(context, body, query.cloudevents)
      const { acks, autoAck } = body
      const max = autoAck ? Math.min(body.max ?? 1, maxAutoAcked) : (body.max ?? 1)
      let acked: readonly Settlement[] | undefined
      const found = await longPoll(hub, {
        queue,
        max,
        waitSeconds: body.waitSeconds ?? 0,
        signal: context.req.raw.signal,
        looksFirst: acks !== undefined,
        look: async () => {
          if (!acks || acked) return receive(executor, queue, { ...body, max }, alone)
          const first = await ackAndReceive(executor, queue, { ...body, acks }, alone)
          acked = first.acked
          return first.messages
        },
        giveBack: (taken) => giveBack(executor, queue, taken, alone),
      })
      const messages = autoAck ? found : found.slice(0, fitting(found))
      // (What cannot be given back now comes again when its lease ends.)
      await giveBack(executor, queue, found.slice(messages.length), alone).catch(() => undefined)
      if (wanted) return eventAnswer(context, wanted, messages, queue)
      return jsonText(context, messagesJson(messages, acked && { acks: acked }))
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/ack',
      operationId: 'ack',
      summary: 'The messages are done: delete them.',
      needs: 'receive',
      body: AckRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, context }) => context.json({ results: await ack(executor, queue, body, alone) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/nack',
      operationId: 'nack',
      summary: 'Give messages back, to be received again, or make dead letters of them.',
      needs: 'receive',
      body: NackRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const results = await nack(executor, queue, body, alone)
      hub.poke(queue, results.length)
      return context.json({ results })
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/extend',
      operationId: 'extend',
      summary: 'Keep messages longer.',
      needs: 'receive',
      body: ExtendRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, context }) => context.json({ results: await extend(executor, queue, body, alone) }),
  )
}
