/* No wake-up is lost, in whatever order things happen: transactions begin, send, commit or are undone; receives begin to wait; the hub
 * begins to watch or has not yet; others' transactions stay open; the connection is killed. Every order is forced with connections of its
 * own, and nothing looks by itself: the hub has no poll behind it, so a message that nobody is woken for stays, and fails the test. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { newQueue, on } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { createWaiting, watchers } from './waiting.ts'

const { database, wait, watched } = await createWaiting()
const { pool } = database
const senders = await Promise.all(Array.from({ length: 3 }, () => database.connect()))
const bystander = await database.connect()

/** Each word is the next step of somebody: a sender's transaction (begin, send, end), a bystander's (begin with an id, end), a receive that
 * begins to wait, the moment at which the hub watches, the end of the hub's connection. */
const words = [
  '0',
  '0',
  '0',
  '1',
  '1',
  '1',
  '2',
  '2',
  '2',
  'old',
  'old',
  'wait',
  'wait',
  'wait',
  'watch',
  'watch',
  'kill',
]

const schedules = fc.record({
  steps: fc.shuffledSubarray(words, { minLength: words.length }),
  isolation: fc.constantFrom('read committed', 'repeatable read', 'serializable'),
  group: fc.constantFrom(undefined, 'g'),
  undone: fc.nat({ max: 3 }),
})

test('every message that is committed reaches somebody who waits, whatever the order', async () => {
  await fc.assert(
    fc.asyncProperty(schedules, async ({ steps, isolation, group, undone }) => {
      const queue = await newQueue(pool)
      const waiting: Promise<string[]>[] = []
      const unsent: string[] = []
      const done: Record<string, number> = {}

      for (const who of steps) {
        const turn = (done[who] ?? 0) + 1
        done[who] = turn
        const sender = senders[Number(who)]
        if (sender && turn === 1) await sender.query(`begin isolation level ${isolation}; select from postbag.queue`)
        else if (sender && turn === 2) await on(sender, queue).send(who, group ? { group_key: group } : {})
        else if (sender && Number(who) < undone) await sender.query('rollback').then(() => unsent.push(who))
        else if (sender) await sender.query('commit').catch(({ code }) => code === '40001' && unsent.push(who))
        else if (who === 'old') await bystander.query(turn === 1 ? 'begin; select pg_current_xact_id()' : 'rollback')
        else if (who === 'wait') waiting.push(wait(queue))
        else if (who === 'watch' && waiting.length > 0) await Promise.race([watched(queue), ...waiting])
        else if (who === 'kill') {
          for (const pid of await watchers(pool, queue)) await pool.query('select pg_terminate_backend($1)', [pid])
        }
      }
      for (const body of unsent) await on(pool, queue).send(body)

      const bodies = (await Promise.all(waiting)).flat().map((body) => JSON.parse(body))
      assert.deepEqual(bodies.sort(), ['0', '1', '2'])
    }),
    { numRuns: 40, endOnFailure: true },
  )
})

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
  test(`one who sends (${isolation}) and one who looks, then listens, step by step in every order`, async (t) => {
    const proxy = await startTcpProxy(database.url)
    const own = await createWaiting(database, { url: proxy.url })
    t.after(proxy.stop)
    const sender = await database.connect()
    // From here on its connection is open, so that holding up its bytes holds up nothing but the listening.
    const warm = await newQueue(pool)
    const leave = new AbortController()
    const warming = own.wait(warm, { signal: leave.signal })
    await own.watched(warm)
    // (A second one, where the first was tried and closed before anybody waited.)
    const { connections } = proxy

    for (const steps of merges(['begin', 'send', 'commit'], ['look', 'listen'])) {
      const queue = await newQueue(pool)
      let waiting: Promise<string[]> = Promise.resolve([])
      for (const step of steps) {
        if (step === 'begin') await sender.query(`begin isolation level ${isolation}; select from postbag.queue`)
        else if (step === 'send') await on(sender, queue).send(1)
        else if (step === 'commit') await sender.query('commit')
        else if (step === 'look') {
          proxy.stall()
          const { looked } = own
          waiting = own.wait(queue)
          await until('the look', async () => own.looked > looked || undefined)
        } else {
          await proxy.restore()
          await Promise.race([own.watched(queue), waiting])
        }
      }
      assert.deepEqual(await waiting, ['1'], steps.join(', '))
    }

    assert.equal(own.hub.mode, 'listen: a notification to itself arrived')
    assert.equal(proxy.connections, connections)
    leave.abort()
    await warming
  })
}

test('a stream of sends of many, beside others that take what there is, leaves nothing behind', async () => {
  const queue = await newQueue(pool)
  const seen: string[] = []
  const sends = senders.map(async (sender, number) => {
    for (let sent = 0; sent < 100; sent++) await on(sender, queue).send(`${number}.${sent}`)
  })
  const consumers = Array.from({ length: 20 }, async () => {
    while (seen.length < 300) seen.push(...(await wait(queue, { seconds: 1 })))
  })

  await Promise.all([...sends, ...consumers])

  assert.equal(new Set(seen).size, 300)
  await until('an empty queue', async () => ((await on(pool, queue).peek()).length === 0 ? true : undefined))
})
