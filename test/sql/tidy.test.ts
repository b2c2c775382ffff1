/* Tidying: a session asks once a second whether a queue is untidy, and has it tidied only then; it asks less often where asking takes long. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

for (const durability of ['full', 'volatile']) {
  test(`a queue that is only used is not untidy; one where something has expired is, until it is removed (${durability})`, async () => {
    const queue = await newQueue(pool, { durability })
    const verbs = on(pool, queue)
    await verbs.send('done', { now: at(0) })
    await verbs.ack(...receipts(await verbs.receive(1, { now: at(1) })))
    await verbs.send('short', { ttl: '1 s', now: at(2) })
    const before = await isUntidy(queue, 2)
    const after = await isUntidy(queue, 4)

    await verbs.maintain(10, at(4))

    assert.deepEqual([before, after, await isUntidy(queue, 4)], [false, true, false])
  })
}

test('a last lease that ended makes untidy, and so does a reply that nobody fetched', async () => {
  const [failing, asked] = [await newQueue(pool, { max_attempts: 1, lease: '10 s' }), await newQueue(pool)]
  await on(pool, failing).send('fails', { now: at(0) })
  await on(pool, failing).receive(1, { now: at(1) })
  await pool.query(`select * from postbag.send_request($1, '{"body":1}', '60 s', now => $2)`, [asked, at(0)])

  const [leased, waiting] = [await isUntidy(failing, 2), await isUntidy(asked, 2)]

  assert.deepEqual([leased, await isUntidy(failing, 20)], [false, true])
  assert.deepEqual([waiting, await isUntidy(asked, 100_000)], [false, true])
})

test('notes of traffic are forgotten many at a time, long after statistics need them', async () => {
  const queue = await newQueue(pool)
  const session = on(await db.connect(), queue)
  const notes = async () => {
    const { rows } = await pool.query(
      `select count(*)::integer as count from postbag.traffic
      where queue_id = (select queue_id from postbag.queue where name = $1)`,
      [queue],
    )
    return rows[0].count
  }
  for (let minute = 0; minute < 14; minute++) await session.send(minute, { now: at(60 * minute) })
  const kept = await notes()

  await session.send('late', { now: at(60 * 16) })

  assert.equal(kept, 14)
  // (Those of the last ten minutes, and that of the send.)
  assert.equal(await notes(), 9)
})

test('a session tidies where it only receives, and once a second', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  const verbs = on(session, queue)
  await verbs.sendBatch([{ body: 'a' }, { body: 'b' }, { body: 'c' }, { body: 'old', ttlSeconds: 1 }], { now: at(0) })
  const stored = async () =>
    (await pool.query(`select from postbag.message where queue_id = (${idOf})`, [queue])).rowCount

  await verbs.receive(1, { now: at(0.5) })
  const early = await stored()
  await verbs.receive(1, { now: at(0.6) })
  await verbs.receive(1, { now: at(2) })

  assert.deepEqual([early, await stored()], [4, 3])
})

const idOf = 'select queue_id from postbag.queue where name = $1'

async function isUntidy(queue: string, moment: number): Promise<boolean> {
  const { rows } = await pool.query(`select postbag.is_untidy((${idOf}), $2) as untidy`, [queue, at(moment)])
  return rows[0].untidy
}
