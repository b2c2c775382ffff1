/* /v1/queues/{queue}/receive, ack, nack, extend: what consumers do. */
import type { Access } from '../config.ts'
import { receive } from '../queue/receive.ts'
import { ack, extend, nack } from '../queue/settle.ts'
import { longPoll } from '../wakeup/long-poll.ts'
import { type Door, endpoint, jsonText } from './door.ts'
import { messagesJson } from './message-json.ts'
import { AckRequest, ExtendRequest, NackRequest, ReceiveRequest, ReceiveResponse, SettleResponse } from './schemas.ts'

export function mountLeaseRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/receive',
      summary: 'Lease messages, and wait for them if there are none.',
      needs: 'receive',
      body: ReceiveRequest,
      answer: ReceiveResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const messages = await longPoll(hub, {
        queue,
        waitSeconds: body.waitSeconds ?? 0,
        signal: context.req.raw.signal,
        look: () => receive(executor, queue, body),
        giveBack: (taken) => nack(executor, queue, { receipts: taken.map(({ receipt }) => receipt) }),
      })
      return jsonText(context, messagesJson(messages))
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/ack',
      summary: 'The messages are done: delete them.',
      needs: 'receive',
      body: AckRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, context }) => context.json({ results: await ack(executor, queue, body) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/nack',
      summary: 'Give messages back, to be received again now or after a delay.',
      needs: 'receive',
      body: NackRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const results = await nack(executor, queue, body)
      hub.poke(queue)
      return context.json({ results })
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/extend',
      summary: 'Keep messages longer.',
      needs: 'receive',
      body: ExtendRequest,
      answer: SettleResponse,
    },
    async ({ queue, body, executor, context }) => context.json({ results: await extend(executor, queue, body) }),
  )
}
