/* The inbox: a message that is delivered twice takes effect once. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { postbag } from '../../src/queue/direct.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
})

test('the first who asks gets true, everybody after that false, each consumer for itself', async () => {
  const { inbox } = postbag({ executor: database.pool })

  const answers = [
    await inbox('mailer', '1'),
    await inbox('mailer', '1'),
    await inbox('mailer', '2'),
    await inbox('billing', '1'),
  ]

  assert.deepEqual(answers, [true, false, true, true])
})

test('what rolls back with its work was never seen', async () => {
  const client = await database.connect()
  const inside = postbag({ executor: client })

  await client.query('begin')
  assert.equal(await inside.inbox('rollback', '1'), true)
  await client.query('rollback')

  assert.equal(await postbag({ executor: database.pool }).inbox('rollback', '1'), true)
})

test('of two transactions with one message, one does the work', async () => {
  const [one, other] = [await database.connect(), await database.connect()]
  await one.query('begin')
  await other.query('begin')
  const first = await postbag({ executor: one }).inbox('race', '1')
  const second = postbag({ executor: other }).inbox('race', '1')
  await one.query('commit')

  assert.deepEqual([first, await second], [true, false])
  await other.query('commit')
})

test('an id is remembered for 7 days', async () => {
  let now = new Date('2030-01-01T00:00:00Z')
  const { inbox } = postbag({ executor: database.pool, clock: () => now })

  const answers = [await inbox('week', '1')]
  now = new Date('2030-01-07T23:59:59Z')
  answers.push(await inbox('week', '1'))
  now = new Date('2030-01-08T00:00:01Z')
  answers.push(await inbox('week', '1'))

  assert.deepEqual(answers, [true, false, true])
})
