/* Streams over the poll hub, read step by step: what is taken ahead of the reader, and what becomes of it when he goes. */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { type ErrorCode, QueueError } from '../../src/errors.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { type MessageStream, openStream } from '../../src/wakeup/stream.ts'

/** A stream of what is on the shelf, two messages at a look, and its reader. */
async function streamOf(shelf: readonly string[], options: Partial<MessageStream<string>> = {}) {
  // What it is asked for has no database behind it.
  const hub = createPollHub({ executor: { query: async () => ({ rows: [] }) } })
  const left = [...shelf]
  const givenBack: string[] = []
  const { body, ended } = await openStream(hub, {
    queue: 'q',
    max: 2,
    seconds: 20,
    heartbeatSeconds: 10,
    signal: new AbortController().signal,
    look: async () => left.splice(0, 2),
    giveBack: async (messages) => givenBack.push(...messages),
    texts: {
      opening: 'opening',
      heartbeat: 'heartbeat',
      message: (message) => message,
      problem: (error) => (error as Error).message,
    },
    ...options,
  })
  const reader = body.getReader()
  const read = async () => {
    const { value } = await reader.read()
    return value && new TextDecoder().decode(value)
  }
  return { hub, left, givenBack, ended, read, cancel: () => reader.cancel() }
}

const failing = (code: ErrorCode) => async () => {
  throw new QueueError(code, code)
}

test('nothing is taken ahead of the reader but one batch', async () => {
  const { left, read, cancel } = await streamOf(['a', 'b', 'c', 'd', 'e'])

  assert.deepEqual(left, ['c', 'd', 'e'])
  assert.deepEqual([await read(), await read(), await read()], ['opening', 'a', 'b'])
  assert.deepEqual(left, ['c', 'd', 'e'])
  assert.equal(await read(), 'c')
  assert.deepEqual(left, ['e'])
  await cancel()
})

test('a reader who goes away gets nothing more, and what he was not given is given back', async () => {
  const { left, givenBack, ended, read, cancel } = await streamOf(['a', 'b', 'c'])
  assert.deepEqual([await read(), await read()], ['opening', 'a'])

  await cancel()

  assert.equal(await ended, undefined)
  assert.deepEqual([givenBack, left], [['b'], ['c']])
})

test('a request that is aborted is a reader who goes away, before he reads anything, too', async () => {
  const request = new AbortController()
  const { givenBack, ended } = await streamOf(['a', 'b'], { signal: request.signal })

  request.abort()

  assert.equal(await ended, undefined)
  assert.deepEqual(givenBack, ['a', 'b'])
})

test('what a look takes while the reader goes away is given back before the stream has ended', async () => {
  const looked = Promise.withResolvers<string[]>()
  const looking = Promise.withResolvers<void>()
  let looks = 0
  const look = async () => {
    if (++looks === 1) return []
    looking.resolve()
    return looked.promise
  }
  const { givenBack, ended, read, cancel } = await streamOf([], { look })
  assert.equal(await read(), 'opening')
  const reading = read()
  await looking.promise

  const left = cancel()
  looked.resolve(['taken'])
  await left

  assert.equal(await ended, undefined)
  assert.deepEqual(givenBack, ['taken'])
  assert.equal(await reading, undefined)
})

test('when the hub is closed, what is taken is handed over, and nothing more is taken', async () => {
  const { hub, left, givenBack, ended, read } = await streamOf(['a', 'b', 'c'])

  hub.close()

  assert.deepEqual([await read(), await read(), await read(), await read()], ['opening', 'a', 'b', undefined])
  assert.equal(await ended, undefined)
  assert.deepEqual([left, givenBack], [['c'], []])
})

test('a reader who reads nothing for five seconds after the end is not waited for', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.after(() => mock.timers.reset())
  const { hub, givenBack, ended, read } = await streamOf(['a', 'b'])
  assert.deepEqual([await read(), await read()], ['opening', 'a'])
  hub.close()

  for (let second = 0; second < 5; second++) mock.timers.tick(1000)
  assert.deepEqual(givenBack, [])
  mock.timers.tick(1000)

  assert.equal(await ended, undefined)
  assert.deepEqual(givenBack, ['b'])
  await assert.rejects(read(), /nothing moved for 5 s after the end of the stream/)
})

test('an error of the first look is that of the request, unless time may mend it: then the stream tells it, and ends', async () => {
  await assert.rejects(streamOf([], { look: failing('queue_not_found') }), { code: 'queue_not_found' })

  const { ended, read } = await streamOf([], { look: failing('database_unavailable') })

  assert.deepEqual([await read(), await read(), await read()], ['opening', 'database_unavailable', undefined])
  assert.equal(((await ended) as QueueError).code, 'database_unavailable')
})

test('if what was not given cannot be given back, the stream ends with that error', async () => {
  const { ended, cancel } = await streamOf(['a'], { giveBack: failing('database_unavailable') })

  await cancel()

  assert.equal(((await ended) as QueueError).code, 'database_unavailable')
})
