/* A database with an exchange, deliverers and receivers of its own, for tests that move the clock by hand. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after } from 'node:test'
import { createDeliverer } from '../../src/webhooks/deliverer.ts'
import { createTransport } from '../../src/webhooks/node/transport.ts'
import { createDatabase } from '../support/database.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { at, call } from '../support/sql-verbs.ts'
import { startReceiver } from './webhook-receiver.ts'

const policy = { allowPrivate: true, allowHttp: true }
/** What signs for an endpoint that says nothing else. */
export const secret = `whsec_${randomBytes(32).toString('base64')}`
const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing) await close()
})

export async function newReceiver(...answer: Parameters<typeof startReceiver>) {
  const receiver = await startReceiver(...answer)
  closing.push(receiver.stop)
  return receiver
}

/** A database of its own, with an exchange, and deliverers for it whose clock is moved by hand. */
export async function newWorld() {
  const { pool, connect } = await createDatabase()
  const exchange = await newExchange(pool, 'topic')
  const transport = createTransport({ maxAttemptsPerHost: 256 })
  closing.push(() => transport.close())
  let now = at(0)
  const deliverer = (more: object = {}) =>
    createDeliverer({
      executor: pool,
      attempt: transport.attempt,
      open: async (sealed) => sealed,
      policy,
      clock: () => now,
      onError: (error) => assert.fail(error as Error),
      ...more,
    })
  return {
    pool,
    connect,
    exchange,
    deliverer,
    endpoint: (endpoint: string, url: string, more: object = {}) =>
      call(pool, 'set_endpoint', { endpoint, url, exchange, secrets: JSON.stringify([{ sealed: secret }]), ...more }),
    publish: (...messages: object[]) => publishBatch(pool, exchange, messages, { now }),
    attempts: (endpoint: string) => call(pool, 'list_attempts', { endpoint, max_attempts: 1000 }),
    describe: async (endpoint: string) => (await call(pool, 'describe_endpoint', { endpoint }))[0] ?? {},
    /** Deliver all that is due at this time. */
    async deliverAt(seconds: number) {
      now = at(seconds)
      return (await deliverer().drain()).attempts
    },
  }
}
