/* The long poll over the poll hub: looks at every hint, ends in time, and never keeps what a caller who left cannot settle. Its queue is
 * empty, so that nobody but a poke wakes it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LongPoll, longPoll } from '../../src/wakeup/long-poll.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()
const queue = await newQueue(pool)
const hub = createPollHub({ executor: pool })

/** A look that finds what was put there, and tells when it was called. */
function shelf() {
  const messages: string[] = []
  const looks: (() => void)[] = []
  return {
    put: (message: string) => messages.push(message),
    look: async () => {
      for (const looked of looks.splice(0)) looked()
      return messages.splice(0)
    },
    nextLook: () => new Promise<void>((looked) => looks.push(looked)),
  }
}

function poll(look: () => Promise<string[]>, options: Partial<LongPoll<string>> = {}): Promise<readonly string[]> {
  return longPoll(hub, {
    queue,
    max: 1,
    waitSeconds: 20,
    signal: new AbortController().signal,
    look,
    giveBack: async () => assert.fail('nothing is to be given back'),
    ...options,
  })
}

test('what is there is returned at once', async () => {
  const { put, look } = shelf()
  put('a')

  assert.deepEqual(await poll(look), ['a'])
})

test('a poke wakes the poll that waits for this queue', async () => {
  const { put, look, nextLook } = shelf()
  const looked = nextLook()
  const polling = poll(look)
  await looked

  put('sent later')
  hub.poke(queue)

  assert.deepEqual(await polling, ['sent later'])
})

test('a poke between the look and the wait is not lost', async () => {
  const { put, look } = shelf()
  let looks = 0

  const found = await poll(async () => {
    const messages = await look()
    if (++looks === 1) {
      put('sent while looking')
      hub.poke(queue)
    }
    return messages
  })

  assert.deepEqual(found, ['sent while looking'])
})

test('a caller who goes away while waiting ends the poll, and nothing is taken', async () => {
  const caller = new AbortController()
  const { look, nextLook } = shelf()
  const looked = nextLook()
  const polling = poll(look, { signal: caller.signal })
  await looked

  caller.abort()

  assert.deepEqual(await polling, [])
})

test('what a look took while the caller went away is given back', async () => {
  const caller = new AbortController()
  const givenBack: string[] = []
  const polling = poll(
    async () => {
      caller.abort()
      return ['taken']
    },
    { signal: caller.signal, giveBack: async (messages) => givenBack.push(...messages) },
  )

  assert.deepEqual(await polling, [])
  assert.deepEqual(givenBack, ['taken'])
})

test('closing the hub answers everybody who waits, with nothing', async () => {
  const own = createPollHub({ executor: pool })
  const { look, nextLook } = shelf()
  const looked = nextLook()
  const polling = longPoll(own, {
    queue,
    max: 1,
    waitSeconds: 20,
    signal: new AbortController().signal,
    look,
    giveBack: async () => {},
  })
  await looked

  await own.close()

  assert.deepEqual(await polling, [])
})
