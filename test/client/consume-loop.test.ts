/* consume as a loop: acked when the loop asks for the next message; what is left is given back. */
import assert from 'node:assert/strict'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, test } from 'node:test'
import { createClient, type HeldMessage, type Queue } from '../../src/client/index.ts'
import { ManualClock, onlyGrace } from './manual-clock.ts'
import { json, messages, problem, type Reply, type ScriptedServer, serve } from './scripted-server.ts'

type Turns = AsyncGenerator<HeldMessage, void, undefined>

const queueOf = (server: ScriptedServer): Queue => createClient({ url: server.url, sleep: onlyGrace }).queue('orders')

const receipts = (server: ScriptedServer, verb: 'ack' | 'nack'): string[] =>
  server.seen(verb).flatMap((request) => request.body.receipts)

describe('a for await loop over consume', () => {
  test('gets one message after the other, and each is acked when the loop asks for the next', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2'), messages('3')] })
    const bodies: unknown[] = []
    const ackedBefore: string[][] = []

    for await (const message of queueOf(server).consume({ concurrency: 2 })) {
      bodies.push(message.body)
      if (message.id === '2') await server.request('ack', 1)
      ackedBefore.push(receipts(server, 'ack'))
      if (message.id === '3') break
    }

    assert.deepEqual(bodies, [{ id: '1' }, { id: '2' }, { id: '3' }])
    assert.deepEqual(ackedBefore[0], [])
    assert.deepEqual(ackedBefore[1], ['1.1'])
    // (Perhaps a second time, if the receive that it went along with was cut off by the end.)
    assert.deepEqual([...new Set(receipts(server, 'ack'))], ['1.1', '2.1'])
  })

  test('does not get a message whose lease was lost while it waited for its turn', async (t) => {
    const outcomes: Reply = json({
      results: ['ok', 'message_gone', 'ok'].map((outcome, n) => ({ receipt: `${n + 1}.1`, outcome })),
    })
    const server = await serve(t, { receive: [messages('1', '2', '3')], extend: [outcomes] })
    const clock = new ManualClock()
    const lost = Promise.withResolvers<void>()
    const orders = createClient({ url: server.url, sleep: clock.sleep, now: clock.now }).queue('orders')
    const ids: string[] = []

    for await (const { id } of orders.consume({ concurrency: 3, onError: () => lost.resolve() })) {
      ids.push(id)
      if (id === '1') {
        clock.pass(10_000)
        await lost.promise
      } else {
        void clock.sleeper(500).then(() => clock.pass(500))
        break
      }
    }

    assert.deepEqual(ids, ['1', '3'])
  })

  test('left by break gives back the current message and those fetched ahead, and waits until that is done', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2', '3')] })

    for await (const _ of queueOf(server).consume({ concurrency: 3 })) break

    assert.deepEqual(receipts(server, 'nack').sort(), ['1.1', '2.1', '3.1'])
    for (const { body } of server.seen('nack')) {
      assert.deepEqual(
        body,
        { receipts: body.receipts, delaySeconds: 0, untried: true },
        'at once, and without an error',
      )
    }
    assert.deepEqual(receipts(server, 'ack'), [])
  })

  test('left by an exception gives back too, and the exception passes on', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const boom = new Error('boom')

    const loop = async () => {
      for await (const _ of queueOf(server).consume()) throw boom
    }

    await assert.rejects(loop, boom)
    assert.deepEqual(receipts(server, 'nack'), ['1.1'])
  })

  test('left after ack() does not give back what was acked', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })

    for await (const message of queueOf(server).consume()) {
      await message.ack()
      break
    }

    assert.deepEqual(receipts(server, 'ack'), ['1.1'])
    assert.deepEqual(receipts(server, 'nack'), [])
  })

  test('ends when the signal aborts: the current message is acked, those fetched ahead are given back at once', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2')] })
    const stop = new AbortController()

    for await (const message of queueOf(server).consume({ concurrency: 2, signal: stop.signal })) {
      assert.equal(message.id, '1')
      stop.abort()
      await server.request('nack', 1)
    }

    assert.deepEqual(receipts(server, 'nack'), ['2.1'])
    assert.deepEqual(receipts(server, 'ack'), ['1.1'])
  })

  test('ends when the signal aborts while it waits for a message', async (t) => {
    const server = await serve(t, {})
    const stop = new AbortController()
    void server.request('receive', 1).then(() => stop.abort())

    for await (const _ of queueOf(server).consume({ signal: stop.signal })) assert.fail('there is none')
  })

  for (const [way, leave] of Object.entries({
    'return()': (turns: Turns) => turns.return?.(),
    'throw()': (turns: Turns) => turns.throw?.(new Error('left')).catch((error) => assert.equal(error.message, 'left')),
    'asyncDispose()': (turns: Turns) => turns[Symbol.asyncDispose](),
  })) {
    test(`left by ${way} while it waits for a message, ends at once, and hands out none`, async (t) => {
      const server = await serve(t, {})
      const turns = queueOf(server).consume() as Turns

      const next = turns.next()
      await server.request('receive', 1)
      await leave(turns)

      assert.deepEqual(await next, { done: true, value: undefined })
    })
  }

  test('that a pipeline reads, ends when the writer fails', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const full = new Error('disk full')
    const writer = new Writable({
      objectMode: true,
      write(_message, _encoding, done) {
        void server.request('receive', 2).then(() => done(full))
      },
    })

    await assert.rejects(pipeline(Readable.from(queueOf(server).consume()), writer), full)
  })

  test('throws what will not pass, once the current message is acked', async (t) => {
    const server = await serve(t, { receive: [messages('1'), problem('scope_missing')] })

    const loop = async () => {
      for await (const message of queueOf(server).consume({ concurrency: 2 })) {
        assert.equal(message.id, '1')
        await server.request('receive', 2)
      }
    }

    await assert.rejects(loop, { code: 'scope_missing' })
    assert.deepEqual(receipts(server, 'ack'), ['1.1'])
  })
})
