/* A shared body goes with its last copy, whatever becomes of the others. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createDatabase } from '../support/database.ts'
import { fanoutOf, forgetAll, large, sharedBodies } from '../support/sql-bodies.ts'
import { bind, newExchange } from '../support/sql-exchanges.ts'
import { planNodes, readsOf } from '../support/sql-plans.ts'
import { runsOf } from '../support/sql-property.ts'
import { at, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

describe('with its last copy', () => {
  test('it goes, and not before, whichever way they go', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {}, {}, {})
    await forgetAll(pool)
    const before = await sharedBodies(pool)
    await publish({ body: large })
    const [acked = '', purged = '', deleted = '', expires = ''] = queues
    const leave: (() => Promise<unknown>)[] = [
      async () => on(pool, acked).ack(...receipts(await on(pool, acked).receive())),
      async () => on(pool, purged).purge(),
      async () => on(pool, deleted).delete(),
      async () =>
        on(pool, expires)
          .receive(1, { now: at(1) })
          .then((got) => on(pool, expires).ack(...receipts(got))),
    ]

    for (const [index, go] of leave.entries()) {
      await forgetAll(pool)
      assert.equal((await sharedBodies(pool)) - before, 1, `${index} of 4 are gone`)
      await go()
    }

    await forgetAll(pool)
    assert.equal(await sharedBodies(pool), before)
  })

  test('nobody waits: two that ack the last two copies at once leave nothing, and one that rolls back leaves all', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    await publish({ body: large })
    const sessions = [await db.connect(), await db.connect()]
    await forgetAll(pool)
    const before = await sharedBodies(pool)
    const settle = async (end: string) => {
      for (const [index, session] of sessions.entries()) {
        await session.query(`begin; set local lock_timeout = '1 s'`)
        const verbs = on(session, queues[index] ?? '')
        await verbs.ack(...receipts(await verbs.receive(1, { lease: '1 s', now: at(1) })))
      }
      for (const session of sessions) await session.query(end)
      await forgetAll(pool)
      return sharedBodies(pool)
    }

    assert.equal(await settle('rollback'), before)
    assert.equal(await settle('commit'), before - 1)
  })

  test('it goes when queues are tidied, once a second, without being asked', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    await forgetAll(pool)
    const before = await sharedBodies(pool)
    await publish(...Array(300).fill({ body: large }))
    for (const queue of queues) await on(pool, queue).purge()
    const session = await db.connect()
    const other = await newQueue(pool)

    for (let second = 100; second < 110; second++) await on(session, other).send(1, { now: at(second) })

    assert.equal(await sharedBodies(pool), before)
  })

  test('it goes in maintenance', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    await forgetAll(pool)
    const before = await sharedBodies(pool)
    await publish({ body: large })
    for (const queue of queues) await on(pool, queue).purge()

    for (let more = true; more; )
      more = only(await call<{ more: boolean }>(pool, 'maintain', { max_messages: 100 })).more
    await call(pool, 'maintain', {})

    assert.equal(await sharedBodies(pool), before)
  })
})

test('a copy that becomes a dead letter, or is redriven, takes its body along', async () => {
  const target = await newQueue(pool)
  const { queues, publish } = await fanoutOf(pool, { dead_letter_queue: target }, {})
  const [queue = '', other = ''] = queues
  await forgetAll(pool)
  const before = await sharedBodies(pool)
  await publish({ body: large })

  await on(pool, queue).nack(receipts(await on(pool, queue).receive()), { dead_letter: true })
  await on(pool, other).purge()
  await forgetAll(pool)

  assert.equal(await sharedBodies(pool), before)
  assert.equal(JSON.parse(only(await on(pool, target).peek()).body), large)
  await on(pool, target).redrive()
  assert.equal(JSON.parse(only(await on(pool, queue).peek()).body), large)
})

test('a dead letter that goes by an exchange to several queues has its body stored once, and keeps it in each', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const targets = [await newQueue(pool), await newQueue(pool), await newQueue(pool)]
  for (const queue of targets) await bind(pool, exchange, { queue })
  const { queues, publish } = await fanoutOf(pool, { dead_letter_exchange: exchange }, {})
  const [queue = ''] = queues
  await publish({ body: large })
  await on(pool, queue).send(large)
  await on(pool, queue).send('small')
  await forgetAll(pool)
  const before = await sharedBodies(pool)

  await on(pool, queue).nack(receipts(await on(pool, queue).receive(3)), { dead_letter: true })

  assert.equal((await sharedBodies(pool)) - before, 2)
  await on(pool, targets[0] ?? '').purge()
  await forgetAll(pool)
  for (const target of targets.slice(1)) {
    const found = (await on(pool, target).peek(9)).map(({ body }) => JSON.parse(body).length)
    assert.deepEqual(
      found.sort((a, b) => a - b),
      [5, large.length, large.length],
    )
    await on(pool, target).purge()
  }
  await forgetAll(pool)
  // (That of the other queue that was published to is still there.)
  assert.equal(await sharedBodies(pool), before)
})

test('one that stays as dead, and is redriven, too', async () => {
  const { queues, publish } = await fanoutOf(pool, {}, {})
  const [queue = '', other = ''] = queues
  await publish({ body: large })
  await on(pool, queue).nack(receipts(await on(pool, queue).receive()), { dead_letter: true })
  await on(pool, other).purge()
  await forgetAll(pool)

  await on(pool, queue).redrive()
  await forgetAll(pool)

  assert.equal(JSON.parse(only(await on(pool, queue).receive()).body), large)
})

test('whatever is published, acked, rejected, redriven, purged and forgotten at random: every message has its body, and none is left over', async () => {
  const dead = await newQueue(pool)
  const { queues, publish } = await fanoutOf(pool, {}, { dead_letter_queue: dead }, {})
  const all = [...queues, dead]
  await forgetAll(pool)
  const before = await sharedBodies(pool)
  const step = fc.tuple(
    fc.constantFrom('publish', 'ack', 'reject', 'redrive', 'purge', 'forget', 'forget some'),
    fc.nat(all.length - 1),
    fc.integer({ min: 1, max: 3 }),
    fc.boolean(),
  )
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      let published = 0
      runs++
      for (const [what, which, count, hasIds] of steps) {
        const verbs = on(pool, all[which] ?? '')
        if (what === 'publish') {
          await publish(
            ...Array.from({ length: count }, () => {
              const message = { body: `${++published} ${large}`, type: `${published}` }
              return hasIds ? { ...message, dedupId: `${runs}-${published - (published % 2)}` } : message
            }),
          )
        } else if (what === 'ack' || what === 'reject') {
          const given = receipts(await verbs.receive(count))
          if (given.length > 0) await (what === 'ack' ? verbs.ack(...given) : verbs.nack(given, { dead_letter: true }))
        } else if (what === 'redrive') await verbs.redrive()
        else if (what === 'purge') await verbs.purge()
        else await call(pool, 'forget_bodies', { most: what === 'forget' ? 100 : count })
        for (const queue of all) {
          for (const { body, type } of await on(pool, queue).peek(1000))
            assert.equal(JSON.parse(body).split(' ')[0], type)
        }
      }
      for (const queue of all) await on(pool, queue).purge()
      await forgetAll(pool)
      assert.equal(await sharedBodies(pool), before)
    }),
    runsOf(15),
  )
})

test('whether a body is needed is asked of its copies by their ids, whatever else there is', async () => {
  const { publish } = await fanoutOf(pool, {}, {})
  await publish(...Array(50).fill({ body: large }))

  const session = await db.connect()
  const forgotten = await planNodes(session, () => session.query('select postbag.forget_bodies(100)'))

  assert.deepEqual(
    [readsOf('message', forgotten), readsOf('body', forgotten)],
    [['Index Scan message_pkey'], ['Index Only Scan body_pkey', 'Index Scan body_pkey']],
  )
})
