/* A queue that a case has to itself, and what one does with it. */
import assert from 'node:assert/strict'
import type {
  NackRequest,
  Outcome,
  PeekedMessage,
  PeekResponse,
  QueueConfig,
  QueueInfo,
  QueueStats,
  ReceivedMessage,
  ReceiveRequest,
  ReceiveResponse,
  RedriveRequest,
  RedriveResponse,
  SendResponse,
  SentMessage,
  SettleResponse,
} from '../../src/wire.ts'
import { type Answer, type Call, call, json, type Target } from './target.ts'

let made = 0

export async function newQueue(target: Target, config: QueueConfig = {}): Promise<TestQueue> {
  const queue = queueNamed(target, `case-${++made}`)
  json(await call(target, 'PUT', queue.path, { body: config }), 201)
  return queue
}

export type TestQueue = ReturnType<typeof queueNamed>

/** A queue that may or may not exist. */
export function queueNamed(target: Target, name: string) {
  const path = `/v1/queues/${name}`
  const post = (verb: string, options: Call) => call(target, 'POST', `${path}/${verb}`, options)
  const settle = async (verb: string, receipts: readonly string[], options: object = {}) => {
    const { results } = json<SettleResponse>(await post(verb, { body: { receipts, ...options } }))
    assert.deepEqual(
      results.map(({ receipt }) => receipt),
      receipts,
    )
    return results.map(({ outcome }) => outcome)
  }

  return {
    name,
    path,
    post,
    /** Send JSON: one message, or { messages }. */
    async send(body: object | string): Promise<readonly SentMessage[]> {
      return json<SendResponse>(await post('messages', { body }), 201).messages
    },
    /** Send bodies in one batch. */
    async sendAll(...bodies: readonly unknown[]): Promise<readonly string[]> {
      const sent = await this.send({ messages: bodies.map((body) => ({ body })) })
      return sent.map(({ id }) => id)
    },
    async receive(request: ReceiveRequest = {}): Promise<readonly ReceivedMessage[]> {
      return json<ReceiveResponse>(await post('receive', { body: request })).messages
    },
    /** Receive the one message that must be there. */
    async receiveOne(request: ReceiveRequest = {}): Promise<ReceivedMessage> {
      const [message] = await this.receive(request)
      assert.ok(message, 'no message')
      return message
    },
    ack: (...receipts: string[]): Promise<readonly Outcome[]> => settle('ack', receipts),
    nack: (receipts: readonly string[], options?: Omit<NackRequest, 'receipts'>) => settle('nack', receipts, options),
    extend: (receipts: readonly string[], options?: { leaseSeconds?: number }) => settle('extend', receipts, options),
    async peek(query = ''): Promise<PeekResponse> {
      return json<PeekResponse>(await call(target, 'GET', `${path}/messages${query}`))
    },
    async get(id: string): Promise<PeekedMessage> {
      return json<PeekedMessage>(await call(target, 'GET', `${path}/messages/${id}`))
    },
    async stats(): Promise<QueueStats> {
      return json<QueueStats>(await call(target, 'GET', `${path}/stats`))
    },
    async configure(config: QueueConfig): Promise<QueueInfo> {
      return json<QueueInfo>(await call(target, 'PUT', path, { body: config }))
    },
    async redrive(request: RedriveRequest = {}): Promise<RedriveResponse> {
      return json<RedriveResponse>(await post('redrive', { body: request }))
    },
  }
}

/** The source text of the body of the only message in an answer: there it stands last. */
export function bodyText(answer: Answer): string {
  json(answer)
  return answer.text.slice(answer.text.indexOf('"body":') + '"body":'.length, answer.text.lastIndexOf('}]}'))
}
