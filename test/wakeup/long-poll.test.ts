/* The long poll over the poll hub: looks again at every hint, ends in time, and never keeps what a caller who left cannot settle. */
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { longPoll } from '../../src/wakeup/long-poll.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'

const never = new AbortController().signal
const keepAll = async () => assert.fail('nothing is to be given back')

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

test('what is there is returned at once', async () => {
  const { put, look } = shelf()
  put('a')

  const found = await longPoll(createPollHub(), {
    queue: 'q',
    max: 1,
    waitSeconds: 20,
    signal: never,
    look,
    giveBack: keepAll,
  })

  assert.deepEqual(found, ['a'])
})

test('a poke wakes the poll that waits for this queue', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const hub = createPollHub()
  const { put, look, nextLook } = shelf()
  const looked = nextLook()
  const polling = longPoll(hub, { queue: 'q', max: 1, waitSeconds: 20, signal: never, look, giveBack: keepAll })
  await looked

  put('sent later')
  hub.poke('q')

  assert.deepEqual(await polling, ['sent later'])
  mock.timers.reset()
})

test('a poke between the look and the wait is not lost', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const hub = createPollHub()
  const { put, look } = shelf()
  let looks = 0
  const pokedWhileLooking = async () => {
    const found = await look()
    if (++looks === 1) {
      put('sent while looking')
      hub.poke('q')
    }
    return found
  }

  const found = await longPoll(hub, {
    queue: 'q',
    max: 1,
    waitSeconds: 20,
    signal: never,
    look: pokedWhileLooking,
    giveBack: keepAll,
  })

  assert.deepEqual(found, ['sent while looking'])
  mock.timers.reset()
})

test('without a poke it looks again after a pause that grows', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const { put, look, nextLook } = shelf()
  const looked = nextLook()
  const polling = longPoll(createPollHub(), {
    queue: 'q',
    max: 1,
    waitSeconds: 20,
    signal: never,
    look,
    giveBack: keepAll,
  })
  await looked

  const again = nextLook()
  await setImmediatePromise()
  mock.timers.tick(50)
  await again
  put('sent by another process')
  await setImmediatePromise()
  mock.timers.tick(100)

  assert.deepEqual(await polling, ['sent by another process'])
  mock.timers.reset()
})

test('a caller who goes away while waiting ends the poll, and nothing is taken', async () => {
  const caller = new AbortController()
  const { look, nextLook } = shelf()
  const looked = nextLook()
  const polling = longPoll(createPollHub(), {
    queue: 'q',
    max: 1,
    waitSeconds: 20,
    signal: caller.signal,
    look,
    giveBack: keepAll,
  })
  await looked

  caller.abort()

  assert.deepEqual(await polling, [])
})

test('what a look took while the caller went away is given back', async () => {
  const caller = new AbortController()
  const givenBack: string[] = []
  const polling = longPoll(createPollHub(), {
    queue: 'q',
    max: 1,
    waitSeconds: 20,
    signal: caller.signal,
    look: async () => {
      caller.abort()
      return ['taken']
    },
    giveBack: async (messages) => givenBack.push(...messages),
  })

  assert.deepEqual(await polling, [])
  assert.deepEqual(givenBack, ['taken'])
})

test('closing the hub answers everybody who waits, with nothing', async () => {
  const hub = createPollHub()
  const { look, nextLook } = shelf()
  const looked = nextLook()
  const polling = longPoll(hub, { queue: 'q', max: 1, waitSeconds: 20, signal: never, look, giveBack: keepAll })
  await looked

  hub.close()

  assert.deepEqual(await polling, [])
})

function setImmediatePromise(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
