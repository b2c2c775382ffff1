/* The next heads of groups, where an ack that is the whole transaction names them itself (name_heads.sql). For a session does so only from its
 * second ack of a second on: by then it has nothing to tidy. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import type { Raw } from '../../src/queue/message.ts'
import { ackAndReceive, receive } from '../../src/queue/receive.ts'
import type { ReceivedMessage } from '../../src/wire.ts'
import { createDatabase } from '../support/database.ts'
import { drained, impatient, parcels } from '../support/sql-groups.ts'
import { at, bodies, eventually, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** A session that has acked in the second that begins at at(second), and has nothing to tidy in it any more. */
async function busy(queue: string, second: number): Promise<pg.Client> {
  const session = await impatient(db)
  await on(session, queue).send('in no group', { now: at(second) })
  const [message] = await on(session, queue).receive(1, { now: at(second) })
  assert.equal(message?.body, '"in no group"')
  await on(session, queue).ackWith([message.receipt], { now: at(second) })
  return session
}

/** Ack these, if there are any, and receive up to seven; in one statement, if the acks ride. */
async function next(
  session: pg.Client,
  queue: string,
  acks: readonly string[],
  rides: boolean,
): Promise<readonly Raw<ReceivedMessage>[]> {
  if (acks.length > 0 && !rides) {
    const outcomes = await on(session, queue).ackWith(acks, { alone: true })
    assert.ok(outcomes.every((outcome) => outcome === 'ok'))
  }
  if (acks.length === 0 || !rides) return receive(session, queue, { max: 7 }, { alone: true })
  const { acked, messages } = await ackAndReceive(session, queue, { acks, max: 7 }, { alone: true })
  assert.ok(acked.every(({ outcome }) => outcome === 'ok'))
  return messages
}

/** How many notes of changed groups were ever made. */
async function notes(): Promise<number> {
  const { rows } = await pool.query(
    `select coalesce(pg_sequence_last_value(pg_get_serial_sequence('postbag.group_change', 'change_id')), 0)::integer as made`,
  )
  return rows[0].made
}

test('such an ack makes no note of it; any other one does', async () => {
  const queue = await newQueue(pool)
  const session = await busy(queue, 1)
  await on(pool, queue).sendBatch(parcels('a1 b1 c1 a2 b2 c2'), { now: at(1) })
  const [first, second, third] = receipts(await on(pool, queue).receive(3, { now: at(1) }))

  const before = await notes()
  await on(session, queue).ackWith([first, second], { now: at(1.2), alone: true })
  const afterBoth = await notes()
  await on(session, queue).ackWith([third], { now: at(1.2) })

  assert.deepEqual([afterBoth - before, (await notes()) - before], [0, 1])
  assert.deepEqual(bodies(await on(pool, queue).receive(9, { now: at(2) })).sort(), ['a2', 'b2', 'c2'])
})

for (const level of ['repeatable read', 'serializable']) {
  test(`it leaves them to the commit in a ${level} transaction, and those of a queue that hands out in turns`, async () => {
    const [plain, limited] = [await newQueue(pool), await newQueue(pool, { max_in_flight: 100 })]
    for (const [queue, begin] of [
      [plain, `begin isolation level ${level}`],
      [limited, 'begin'],
    ] as const) {
      const session = await busy(queue, 1)
      await on(pool, queue).sendBatch(parcels('a1 a2'), { now: at(1) })
      const given = receipts(await on(pool, queue).receive(1, { now: at(1) }))
      const before = await notes()
      await session.query(begin)
      await on(session, queue).ackWith(given, { now: at(1.2), alone: true })
      await session.query('commit')

      assert.equal((await notes()) - before, 1)
      assert.deepEqual(await drained(pool, queue, 100), ['a2'])
    }
  })
}

for (const how of ['commit', 'rollback']) {
  test(`a next one that an open transaction is acking keeps it from nothing; its group goes on after the ${how}`, async () => {
    const queue = await newQueue(pool, { lease: '30 s' })
    const session = await busy(queue, 1)
    await on(pool, queue).sendBatch(parcels('a1 a2 a3 b1 b2'), { now: at(1) })
    const given = receipts(await on(pool, queue).receive(3, { now: at(1) }))
    assert.equal(given.length, 3)
    const [a1, b1, a2] = given
    const acker = await db.connect()
    await acker.query('begin')
    await on(acker, queue).ackWith([a2], { now: at(1) })

    await on(session, queue).ackWith([a1, b1], { now: at(1.2), alone: true })
    assert.deepEqual(bodies(await on(pool, queue).receive(9, { now: at(2) })), ['b2'])
    await acker.query(how)

    assert.deepEqual(await drained(session, queue, 100), how === 'rollback' ? ['b2', 'a2', 'a3'] : ['b2', 'a3'])
  })
}

test('it leaves them to the commit where a receive goes along, whose rows a client may be slow to read', async () => {
  const queue = await newQueue(pool)
  const session = await busy(queue, 1)
  await on(pool, queue).sendBatch(parcels('a1 a2'), { now: at(1) })
  const given = receipts(await on(pool, queue).receive(1, { now: at(1) }))
  const before = await notes()

  const { messages } = await ackAndReceive(
    session,
    queue,
    { acks: given, max: 9 },
    { alone: true, clock: () => at(1.2) },
  )

  assert.deepEqual([messages.length, (await notes()) - before], [0, 1])
  assert.deepEqual(bodies(await on(pool, queue).receive(9, { now: at(1.3) })), ['a2'])
})

test('consumers whose acks go along or are alone, and senders at once: each group in the order of each sender, to one at a time, nothing lost', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const [senders, rounds, groups] = [3, 60, 12]
  const owners = new Map<string, number>()
  const done: string[] = []
  const before = await notes()

  const sending = Array.from({ length: senders }, async (_, sender) => {
    const session = await db.connect()
    for (let round = 0; round < rounds; round++) {
      const parts = [0, 1, 2, 3].map((part) => ({
        body: `${sender}-${round * 4 + part}`,
        group: `g${(sender + round * 5 + part) % groups}`,
      }))
      await on(session, queue).sendBatch(parts, { alone: true })
    }
  })
  const consuming = Array.from({ length: 4 }, async (_, consumer) => {
    const session = await db.connect()
    let acks: string[] = []
    await eventually('all messages are acked', async () => {
      // (They are given up while this call is made.)
      for (const [group, owner] of owners) if (owner === consumer) owners.delete(group)
      const messages = await next(session, queue, acks, consumer === 0)
      const held = new Set(messages.map(({ group }) => String(group)))
      for (const group of held) assert.equal(owners.get(group), undefined, `group ${group} has two owners`)
      for (const group of held) owners.set(group, consumer)
      for (const { body } of messages) done.push(JSON.parse(body))
      acks = messages.map(({ receipt }) => receipt)
      return acks.length === 0 && done.length >= senders * rounds * 4
    })
  })
  await Promise.all([...sending, ...consuming])

  assert.equal(new Set(done).size, senders * rounds * 4)
  assert.equal(done.length, senders * rounds * 4)
  for (let sender = 0; sender < senders; sender++)
    for (let group = 0; group < groups; group++) {
      const ofBoth = done
        .filter((body) => body.startsWith(`${sender}-`))
        .map((body) => Number(body.split('-')[1]))
        .filter((number) => (sender + Math.floor(number / 4) * 5 + (number % 4)) % groups === group)
      assert.deepEqual(
        ofBoth,
        ofBoth.toSorted((a, b) => a - b),
      )
    }
  assert.ok((await notes()) - before < done.length / 2, 'most heads were named at once')
})
