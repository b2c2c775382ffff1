/* The hub that asks: one statement now and then for all who wait, and a look only for those for whom there is something. What it asks is
 * counted on its way to a real database; how long it pauses is taken from the timers it sets, so that a busy machine changes nothing. */
import assert from 'node:assert/strict'
import { describe, mock, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Executor } from '../../src/db/call.ts'
import { connect } from '../../src/db/connect.ts'
import { createListenHub } from '../../src/wakeup/listen-hub.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import type { Prospect } from '../../src/wakeup/prospect.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { closedAfter, type Receives, receivesOver } from './waiting.ts'

const database = await createDatabase()
const { pool } = database

interface Counting extends Executor {
  /** For how many queues each poll's statement asked, oldest first, and what was answered. */
  readonly asked: number[]
  readonly answers: Prospect[]
  /** Most statements of polls at a time. */
  readonly most: number
  /** Once set, what it asks is not answered before this. */
  gate?: Promise<void>
}

/** @param took what each answer is said to have cost, in seconds (what it did cost depends on how busy the machine is) */
function counting(executor: Executor = pool, took = 0): Counting {
  let open = 0
  let most = 0
  return {
    asked: [],
    answers: [],
    get most() {
      return most
    },
    async query(text, values) {
      if (!text.includes('postbag.prospects')) return executor.query(text, values)
      this.asked.push((values[0] as string[]).length)
      most = Math.max(most, ++open)
      try {
        await this.gate
        const result = await executor.query(text, values)
        const rows = result.rows as Prospect[]
        this.answers.push(...rows)
        return { ...result, rows: rows.map((row) => ({ ...row, took })) }
      } finally {
        open--
      }
    },
  }
}

function createPolling(executor: Counting = counting()) {
  const hub = closedAfter(createPollHub({ executor }))
  return Object.assign(receivesOver(hub, executor), { hub, executor })
}

const queues = (count: number) => Promise.all(Array.from({ length: count }, () => newQueue(pool)))

/** So many more polls. */
async function polls(executor: Counting, count: number): Promise<void> {
  const before = executor.asked.length
  await until(`${count} polls`, async () => executor.asked.length >= before + count || undefined)
}

/** Resolves when so many receives have looked and wait. */
async function wait(receives: Receives, count: number): Promise<void> {
  await until('all first looks', async () => receives.looked >= count || undefined)
}

/** The pauses before a poll (src/wakeup/poll.ts: ring) that begin while `work` runs, in milliseconds. */
async function pausesOf(work: () => Promise<void>): Promise<number[]> {
  const { mock: timers } = mock.method(globalThis, 'setTimeout')
  try {
    await work()
    const pauses = timers.calls.filter(({ arguments: [then] }) => then.name === 'ring')
    return pauses.map(({ arguments: [, millis = 0] }) => Math.round(millis))
  } finally {
    timers.restore()
  }
}

describe('what waiting costs', () => {
  test('one statement at a time for all queues, and no look but the first, however many wait', async () => {
    const names = await queues(100)
    const leave = new AbortController()
    const polling = createPolling()
    const waiting = names.flatMap((queue) =>
      Array.from({ length: 10 }, () => polling.wait(queue, { signal: leave.signal })),
    )
    await wait(polling, 1000)
    const { executor } = polling
    executor.asked.length = 0

    await polls(executor, 4)

    assert.deepEqual(executor.asked, [100, 100, 100, 100])
    assert.equal(executor.most, 1)
    leave.abort()
    await Promise.all(waiting)
    assert.equal(polling.looks, 1000)
  })

  test('a statement for every 200 queues', async () => {
    const names = await queues(201)
    const leave = new AbortController()
    const polling = createPolling()
    const waiting = names.map((queue) => polling.wait(queue, { signal: leave.signal }))
    await wait(polling, 201)
    await polls(polling.executor, 2)
    polling.executor.asked.length = 0

    await polls(polling.executor, 4)

    assert.deepEqual(polling.executor.asked.slice(0, 4).sort(), [1, 1, 200, 200])
    leave.abort()
    await Promise.all(waiting)
  })

  test('pauses that double from 50 ms to half a second, and begin anew with a message', async () => {
    const queue = await newQueue(pool)
    const leave = new AbortController()
    const polling = createPolling()
    const waiting: Promise<string[]>[] = []

    const alone = await pausesOf(async () => {
      for (let place = 0; place < 2; place++) waiting.push(polling.wait(queue, { signal: leave.signal }))
      await polls(polling.executor, 8)
    })
    for (const [turn, millis] of [50, 100, 200, 400, 500, 500, 500].entries()) {
      assert.ok(Number(alone[turn]) >= millis - 1, `${alone}`)
    }

    const after = await pausesOf(async () => {
      await on(pool, queue).send(1)
      await Promise.race(waiting)
      await polls(polling.executor, 2)
    })
    assert.ok(Math.min(...after.slice(1)) < 499, `${after}`)
    leave.abort()
    assert.deepEqual((await Promise.all(waiting)).flat(), ['1'])
  })

  test('nothing more, once nobody waits', async () => {
    const queue = await newQueue(pool)
    const leave = new AbortController()
    const polling = createPolling()
    const waiting = polling.wait(queue, { signal: leave.signal })
    await polls(polling.executor, 1)

    leave.abort()

    assert.deepEqual(await waiting, [])
    const { length } = polling.executor.asked
    await sleep(600)
    assert.equal(polling.executor.asked.length, length)
  })

  test('few looks at what another transaction holds, until it gives it back', async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send(1)
    const other = await database.connect()
    await other.query('begin')
    await on(other, queue).receive()
    const polling = createPolling()
    const waiting = polling.wait(queue)
    await polls(polling.executor, 8)

    assert.ok(polling.looks <= 10, `${polling.looks} looks`)
    await other.query('rollback')
    assert.deepEqual(await waiting, ['1'])
  })

  test('the same, where it stands in for a connection that does not listen', async () => {
    const elsewhere = await createDatabase()
    const names = await queues(20)
    const executor = counting()
    const hub = closedAfter(createListenHub({ url: elsewhere.url, executor }))
    const receives = receivesOver(hub, executor)
    const waiting = names.flatMap((queue) => [receives.wait(queue), receives.wait(queue)])
    await wait(receives, 40)
    executor.asked.length = 0
    await polls(executor, 3)

    assert.deepEqual(executor.asked.slice(0, 3), [20, 20, 20])
    assert.equal(receives.looks, 40)
    for (const queue of names) await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }])
    assert.equal((await Promise.all(waiting)).flat().length, 40)
  })
})

describe('who waits is woken', () => {
  test('where there is something, and nobody else', async () => {
    const [one, other] = (await queues(2)) as [string, string]
    const leave = new AbortController()
    const polling = createPolling()
    const waiting = [one, other].flatMap((queue) =>
      Array.from({ length: 20 }, () => polling.wait(queue, { signal: leave.signal })),
    )
    await wait(polling, 40)

    await on(pool, one).send(1)

    assert.deepEqual(await Promise.race(waiting), ['1'])
    await polls(polling.executor, 2)
    // The one who was served, and the next, for whom there might have been more.
    assert.equal(polling.looks, 42)
    leave.abort()
    assert.deepEqual((await Promise.all(waiting)).flat(), ['1'])
  })

  test('in the order in which they came', async () => {
    const queue = await newQueue(pool)
    const polling = createPolling()
    const served: number[] = []
    const waiting: Promise<unknown>[] = []
    for (let place = 0; place < 8; place++) {
      waiting.push(polling.wait(queue).then(() => served.push(place)))
      await wait(polling, place + 1)
    }

    for (let sent = 0; sent < 8; sent++) {
      await on(pool, queue).send(sent)
      await until(`answer ${sent}`, async () => served.length > sent || undefined)
    }

    await Promise.all(waiting)
    assert.deepEqual(served, [0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('all of them, by a batch', async () => {
    const queue = await newQueue(pool)
    const polling = createPolling()
    const waiting = Array.from({ length: 50 }, () => polling.wait(queue))
    await wait(polling, 50)

    await on(pool, queue).sendBatch(Array.from({ length: 50 }, (_, body) => ({ body })))

    assert.equal(new Set((await Promise.all(waiting)).flat()).size, 50)
  })

  test('at the end of a delay, without another poll', async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send('delayed', { delay: '1 s' })
    const polling = createPolling()
    const { executor } = polling
    const waiting = polling.wait(queue)
    await until('the moment to be known', async () => executor.answers[0])
    const gate = Promise.withResolvers<void>()
    executor.gate = gate.promise

    assert.deepEqual(await waiting, ['"delayed"'])

    assert.equal(polling.looks, 2)
    assert.ok(executor.answers.every(({ available_in }) => Number(available_in) > 0))
    gate.resolve()
  })

  test('at the end of a delay, though somebody looked before because the answer was expensive', async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send('delayed', { delay: '1 s' })
    const polling = createPolling(counting(pool, 0.01))
    const { executor } = polling
    const leave = new AbortController()
    const bodies: string[] = []
    const waiting = polling.wait(queue, { seconds: 300, signal: leave.signal }).then((got) => bodies.push(...got))
    await until('the moment to be known', async () => executor.answers[0])
    const gate = Promise.withResolvers<void>()
    executor.gate = gate.promise

    try {
      assert.equal(await until('the message', async () => bodies[0]), '"delayed"')
      assert.equal(polling.looks, 3)
    } finally {
      gate.resolve()
      leave.abort()
      await waiting
    }
  })

  test('at once, by a send of its own process', async () => {
    const queue = await newQueue(pool)
    const polling = createPolling()
    const gate = Promise.withResolvers<void>()
    polling.executor.gate = gate.promise
    const waiting = polling.wait(queue)
    await wait(polling, 1)

    await on(pool, queue).send(1)
    polling.hub.poke(queue)

    assert.deepEqual(await waiting, ['1'])
    gate.resolve()
  })

  test('when their queue is no longer paused', async () => {
    const queue = await newQueue(pool)
    const { send, pause, resume } = on(pool, queue)
    await send(1)
    await pause()
    const polling = createPolling()
    const waiting = polling.wait(queue)
    await polls(polling.executor, 2)

    await resume()

    assert.deepEqual(await waiting, ['1'])
    assert.equal(polling.looks, 2)
  })

  test('by the deletion of their queue, all of them, which they say', async () => {
    const queue = await newQueue(pool)
    const polling = createPolling()
    const answers = Promise.allSettled(Array.from({ length: 5 }, () => polling.wait(queue)))
    await wait(polling, 5)

    await on(pool, queue).delete()

    for (const outcome of await answers) {
      assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'queue_not_found')
    }
  })

  test('by the loss of the database, one by one, which they say; and the others by its return', async () => {
    const proxy = await startTcpProxy(database.url)
    const throughProxy = connect(proxy.url)
    const queue = await newQueue(pool)
    const polling = createPolling(counting(throughProxy))
    const waiting = Array.from({ length: 10 }, () => polling.wait(queue))
    await wait(polling, 10)

    await proxy.refuse()
    await assert.rejects(Promise.race(waiting), { code: 'database_unavailable' })
    await proxy.restore()
    await on(pool, queue).sendBatch(Array.from({ length: 10 }, (_, body) => ({ body })))

    const answers = await Promise.allSettled(waiting)
    assert.ok(answers.filter(({ status }) => status === 'fulfilled').length >= 5)
    await throughProxy.end()
    await proxy.stop()
  })

  test('by the closing of the hub, with nothing', async () => {
    const names = await queues(2)
    const polling = createPolling()
    const waiting = names.flatMap((queue) => [polling.wait(queue), polling.wait(queue)])
    await polls(polling.executor, 1)

    await polling.hub.close()

    assert.deepEqual(await Promise.all(waiting), [[], [], [], []])
    assert.equal(polling.hub.closed, true)
  })
})
