/* redrive and redriveAll: dead letters come back, call after call, at a rate, and as many as are wanted. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createClient, type Queue } from '../../src/client/index.ts'
import { type RealServer, startRealServer } from './real-server.ts'
import { json, problem, type ScriptedServer, serve } from './scripted-server.ts'

describe('dead letters', () => {
  let real: RealServer

  before(async () => {
    real = await startRealServer()
  })

  async function queueWithDead(...bodies: readonly unknown[]): Promise<Queue> {
    const queue = await real.createQueue()
    await queue.sendBatch(bodies.map((body) => ({ body })))
    for (const message of await queue.receive({ max: 1000 })) await message.reject(`cannot do ${message.body}`)
    return queue
  }

  test('come back, those that fit', async () => {
    const orders = await queueWithDead(1, 2, 3)

    const answer = await orders.redrive({ errorContains: 'do 2' })

    assert.deepEqual(answer, { redrivenMessages: 1 })
    assert.deepEqual(await real.states(orders), ['dead', 'ready', 'dead'])
  })

  test('tell the next receiver what has become of them', async () => {
    const orders = await queueWithDead(1)

    await orders.redrive()
    const [message] = await orders.receive()

    const [{ at, ...death } = { at: '' }, ...others] = message?.deadLetters ?? []
    assert.deepEqual(death, { queue: orders.name, reason: 'rejected', error: 'cannot do 1', attempts: 1 })
    assert.deepEqual(others, [])
    assert.ok(Date.parse(at) < Date.parse(message?.leasedUntil ?? ''))
    assert.equal(message?.attempts, 1, 'attempts are counted anew')
  })

  test('come back to another queue', async () => {
    const orders = await queueWithDead(1)
    const slow = await real.createQueue()

    await orders.redrive({ target: slow.name })

    assert.deepEqual([await real.states(orders), await real.states(slow)], [[], ['ready']])
  })

  test('are counted only, with dryRun', async () => {
    const orders = await queueWithDead(1, 2)

    assert.equal(await orders.redriveAll({ dryRun: true }), 2)

    assert.deepEqual(await real.states(orders), ['dead', 'dead'])
  })

  test('come back all, however many calls that takes, and at the same rate over all of them', async () => {
    const orders = await real.createQueue()
    for (let batch = 0; batch < 2; batch++) {
      await orders.sendBatch(Array(600).fill({ body: batch }))
      const messages = await orders.receive({ max: 600 })
      await orders.nack(
        messages.map(({ receipt }) => receipt),
        { deadLetter: true },
      )
    }
    const counts: number[] = []

    const redriven = await orders.redriveAll({ ratePerSecond: 1 }, { onProgress: (count) => counts.push(count) })

    const { messages } = await orders.peek({ max: 1000, state: 'delayed' })
    const times = messages.map(({ availableAt }) => Math.round(Date.parse(availableAt ?? '') / 1000))
    assert.equal(redriven, 1200)
    assert.deepEqual([counts[0], counts.at(-1)], [1000, 1200])
    assert.equal(new Set(times).size, times.length, 'no two in one second')
    assert.deepEqual((await orders.peek({ state: 'dead' })).messages, [])
  })
})

describe('redriveAll', () => {
  const bodies = (server: ScriptedServer) => server.seen('queue').map((request) => request.body)
  const page = (redrivenMessages: number, next?: string) => json({ redrivenMessages, next })

  test('goes on where the call before ended, with the same filters', async (t) => {
    const server = await serve(t, { queue: [page(1000, '17'), page(0, '29'), page(3)] })
    const orders = createClient({ url: server.url }).queue('orders')
    const heard: [number, string | undefined][] = []

    const redriven = await orders.redriveAll(
      { type: 'order.created', after: '5' },
      { onProgress: (count, next) => heard.push([count, next]) },
    )

    assert.equal(redriven, 1003)
    assert.deepEqual(
      bodies(server),
      ['5', '17', '29'].map((after) => ({ type: 'order.created', max: 1000, after })),
    )
    assert.deepEqual(heard, [
      [1000, '17'],
      [1000, '29'],
      [1003, undefined],
    ])
  })

  test('ends at max', async (t) => {
    const server = await serve(t, { queue: [page(1000, '17'), page(500, '29')] })

    const redriven = await createClient({ url: server.url }).queue('orders').redriveAll({ max: 1500 })

    assert.equal(redriven, 1500)
    assert.deepEqual(
      bodies(server).map(({ max }) => max),
      [1000, 500],
    )
  })

  test('that is aborted ends after the call under way, which has been heard of', async (t) => {
    const server = await serve(t, { queue: [page(1000, '17'), page(1000, '29')] })
    const orders = createClient({ url: server.url }).queue('orders')
    const stop = new AbortController()
    const reason = new Error('enough')
    let heard = 0
    const onProgress = (count: number) => {
      heard = count
      stop.abort(reason)
    }

    await assert.rejects(orders.redriveAll({}, { signal: stop.signal, onProgress }), reason)

    assert.deepEqual([heard, server.seen('queue').length], [1000, 1])
  })

  test('ends with the error of a call, or of onProgress', async (t) => {
    const server = await serve(t, { queue: [page(1000, '17'), problem('queue_not_found'), page(1000, '17')] })
    const orders = createClient({ url: server.url }).queue('orders')
    const enough = new Error('enough')
    const onProgress = () => {
      throw enough
    }

    await assert.rejects(orders.redriveAll(), { code: 'queue_not_found' })
    await assert.rejects(orders.redriveAll({}, { onProgress }), enough)
  })
})
