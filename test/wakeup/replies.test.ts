/* Waiting for a reply: who replies wakes who waits, in whatever order the two go on; nothing looks by itself, so a lost wake-up fails. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import type { Executor } from '../../src/db/call.ts'
import { awaitedReply, fetchReply, reply, request } from '../../src/queue/request.ts'
import type { Hub } from '../../src/wakeup/hub.ts'
import { longPoll } from '../../src/wakeup/long-poll.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on, only } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { closedAfter, createWaiting, listenerSettles } from './waiting.ts'

const database = await createDatabase()
const { pool } = database
const waits = { seconds: 20 }

interface Asked {
  readonly queue: string
  readonly id: string
  readonly name: string
  readonly replyTo: string
}

/** A request that nobody has replied to. */
async function asked(durability = 'full', keepSeconds?: number): Promise<Asked> {
  const queue = await newQueue(pool, { durability })
  const { id } = await request(pool, queue, { encoding: 'json', body: '1' }, keepSeconds)
  const { headers } = only(await on(pool, queue).peek())
  return { queue, id, name: awaitedReply(queue, id), replyTo: headers?.['postbag-reply-to'] ?? '' }
}

function replyTo({ queue, replyTo }: Asked, session: Executor = pool) {
  return reply(session, queue, { replyTo, encoding: 'json', body: '"yes"' })
}

/** Waits as the door does; the body of the reply. Counts its looks. */
function waiterOver(hub: Hub, executor: Executor) {
  const counts = { looks: 0, looked: 0 }
  return Object.assign(counts, {
    async wait({ queue, id, name }: Asked, { seconds } = waits, hasLooked = false): Promise<string | undefined> {
      const [found] = await longPoll(hub, {
        queue: name,
        max: 1,
        waitSeconds: seconds,
        signal: new AbortController().signal,
        hasLooked,
        look: async () => {
          counts.looks++
          const { reply } = await fetchReply(executor, queue, id).finally(() => counts.looked++)
          return reply ? [reply] : []
        },
        giveBack: async () => {},
      })
      return found?.body
    },
  })
}

/** All orders of the steps of two, each of whom keeps its own. */
function merges(one: readonly string[], other: readonly string[]): string[][] {
  const [first, ...restOfOne] = one
  const [second, ...restOfOther] = other
  if (first === undefined || second === undefined) return [[...one, ...other]]
  return [
    ...merges(restOfOne, other).map((steps) => [first, ...steps]),
    ...merges(one, restOfOther).map((steps) => [second, ...steps]),
  ]
}

for (const isolation of ['read committed', 'repeatable read', 'serializable']) {
  test(`one who replies (${isolation}) and one who looks, then listens, step by step in every order`, async (t) => {
    const proxy = await startTcpProxy(database.url)
    const { hub, watched } = await createWaiting(database, { url: proxy.url })
    const waiter = waiterOver(hub, pool)
    t.after(proxy.stop)
    const replier: pg.Client = await database.connect()
    // From here on its connection is open, so that holding up its bytes holds up nothing but the listening.
    const warm = await asked()
    const warming = waiter.wait(warm)
    await watched(warm.name)

    for (const durability of ['full', 'volatile']) {
      for (const steps of merges(['begin', 'reply', 'commit'], ['look', 'listen'])) {
        const question = await asked(durability)
        let waiting: Promise<string | undefined> = Promise.resolve(undefined)
        for (const step of steps) {
          if (step === 'begin') await replier.query(`begin isolation level ${isolation}; select from postbag.queue`)
          else if (step === 'reply') assert.equal((await replyTo(question, replier)).outcome, 'ok')
          else if (step === 'commit') await replier.query('commit')
          else if (step === 'look') {
            proxy.stall()
            const { looked } = waiter
            waiting = waiter.wait(question)
            await until('the look', async () => waiter.looked > looked || undefined)
          } else {
            await proxy.restore()
            await Promise.race([watched(question.name), waiting])
          }
        }
        assert.equal(await waiting, '"yes"', steps.join(', '))
      }
    }

    assert.equal(hub.mode, 'listen: a notification to itself arrived')
    await replyTo(warm)
    assert.equal(await warming, '"yes"')
  })
}

test('who has just sent waits without a look, and misses no reply that came before he began', async () => {
  const { hub } = await createWaiting(database)
  const waiter = waiterOver(hub, pool)
  const question = await asked()
  await replyTo(question)

  assert.equal(await waiter.wait(question, waits, true), '"yes"')
  assert.equal(waiter.looks, 1)
})

test('while nobody replies, who waits asks nothing', async () => {
  const { hub, watched } = await createWaiting(database)
  const waiter = waiterOver(hub, pool)
  const question = await asked()
  const waiting = waiter.wait(question)
  await watched(question.name)
  await listenerSettles(pool)
  const { looks } = waiter

  const other = await asked()
  await replyTo(other)

  assert.equal(waiter.looks, looks)
  await replyTo(question)
  assert.equal(await waiting, '"yes"')
  assert.equal(waiter.looks, looks + 1)
})

test('a reply that is rolled back wakes nobody; the next one does', async () => {
  const { hub, watched } = await createWaiting(database)
  const waiter = waiterOver(hub, pool)
  const question = await asked()
  const waiting = waiter.wait(question)
  await watched(question.name)
  const session = await database.connect()

  await session.query('begin')
  await replyTo(question, session)
  await session.query('rollback')
  await replyTo(question)

  assert.equal(await waiting, '"yes"')
})

test('who waits is told when the time of the reply is over, and when its queue is deleted', async () => {
  const { hub, watched } = await createWaiting(database)
  const waiter = waiterOver(hub, pool)
  const [short, gone] = [await asked('full', 1), await asked()]
  const told = Promise.all([
    assert.rejects(waiter.wait(short), { code: 'reply_not_found' }),
    assert.rejects(waiter.wait(gone), { code: 'queue_not_found' }),
  ])
  await watched(gone.name)

  await on(pool, gone.queue).delete()

  await told
})

test('where the database can only be asked, a reply is found, too', async () => {
  const waiter = waiterOver(closedAfter(createPollHub({ executor: pool })), pool)
  const questions = await Promise.all([asked(), asked('volatile'), asked()])
  const waiting = questions.map((question) => waiter.wait(question))
  await until('the looks', async () => waiter.looked === 3 || undefined)

  for (const question of questions) await replyTo(question)

  assert.deepEqual(await Promise.all(waiting), ['"yes"', '"yes"', '"yes"'])
})
