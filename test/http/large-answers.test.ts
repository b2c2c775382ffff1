/* What does not fit into an answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../src/app.ts'
import { receive } from '../../src/queue/receive.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()
const hub = createPollHub({ executor: pool })
const app = createApp({ access: { kind: 'open' } })

/** Of a JSON string of a mebibyte each. */
async function filled(messages: number): Promise<string> {
  const queue = await newQueue(pool)
  const body = JSON.stringify('x'.repeat(1_048_574))
  for (let sent = 0; sent < messages; sent += 10) {
    const batch = Array.from({ length: Math.min(10, messages - sent) }, () => ({ json: body }))
    await on(pool, queue).sendBatch(batch)
  }
  return queue
}

const ask = async (path: string, body?: object) => {
  const init = body && { method: 'POST', body: JSON.stringify(body) }
  const answer = await app.request(`http://127.0.0.1/v1/queues/${path}`, init, { executor: pool, hub })
  assert.equal(answer.status, 200)
  return (await answer.json()) as { messages: { id: string; attempts: number }[]; next?: string }
}

test('a receive leaves to the next one what is beyond 64 MiB, and a look to the next page', async () => {
  const queue = await filled(70)

  const page = await ask(`${queue}/messages?max=1000`)
  const rest = await ask(`${queue}/messages?max=1000&after=${page.next}`)
  const taken = await ask(`${queue}/receive`, { max: 1000 })
  const left = await receive(pool, queue, { max: 1000 })

  assert.deepEqual([page.messages.length, rest.messages.length, rest.next], [64, 6, undefined])
  assert.deepEqual([taken.messages.length, left.length], [64, 6])
  assert.deepEqual(new Set(left.map(({ attempts }) => attempts)), new Set([1]))
  assert.equal(new Set([...taken.messages, ...left].map(({ id }) => id)).size, 70)
})

test('a receive that acks by itself takes 256 messages at most', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(Array(300).fill({ body: 1 }))

  const first = await ask(`${queue}/receive`, { max: 1000, autoAck: true })
  const second = await ask(`${queue}/receive`, { max: 1000, autoAck: true })

  assert.deepEqual([first.messages.length, second.messages.length], [256, 44])
})
