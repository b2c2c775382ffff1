/* Relaxed durability is for statements that are a whole transaction: in a caller's own it would reach the caller's work. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type pg from 'pg'
import type { Executor } from '../../src/db/call.ts'
import { postbag } from '../../src/queue/direct.ts'
import { receive } from '../../src/queue/receive.ts'
import { send } from '../../src/queue/send.ts'
import { ack, extend, nack } from '../../src/queue/settle.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
  await postbag({ executor: database.pool }).queue('relaxed').create({ durability: 'relaxed' })
})

/** A session whose commits wait, whatever the test server's do. */
async function connect(): Promise<pg.Client> {
  const client = await database.connect()
  await client.query('set synchronous_commit = on')
  return client
}

async function commitsWaitIn(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ setting: string }>(`select current_setting('synchronous_commit') as setting`)
  return rows[0]?.setting === 'on'
}

/** Every verb on messages, each with a message of its own. */
const verbs: Readonly<Record<string, (executor: Executor, alone: boolean) => Promise<unknown>>> = {
  send: (executor, alone) => send(executor, 'relaxed', [{ encoding: 'json', body: '1' }], { alone }),
  receive: (executor, alone) => receive(executor, 'relaxed', {}, { alone }),
  ack: (executor, alone) => ack(executor, 'relaxed', { receipts: ['1.1.1'] }, { alone }),
  nack: (executor, alone) => nack(executor, 'relaxed', { receipts: ['1.1.1'] }, { alone }),
  extend: (executor, alone) => extend(executor, 'relaxed', { receipts: ['1.1.1'] }, { alone }),
}

for (const [verb, run] of Object.entries(verbs)) {
  test(`${verb} relaxes the commit when it is alone, and only then`, async () => {
    const client = await connect()
    const seen: boolean[] = []
    for (const alone of [true, false]) {
      await client.query('begin')
      await run(client, alone)
      seen.push(await commitsWaitIn(client))
      await client.query('commit')
    }

    assert.deepEqual(seen, [false, true])
    assert.equal(await commitsWaitIn(client), true)
  })
}

test('an extend that is alone waits for a lock for a second, and only then', async () => {
  const client = await connect()
  const seen: unknown[] = []
  for (const alone of [true, false]) {
    await client.query('begin')
    await extend(client, 'relaxed', { receipts: ['1.1.1'] }, { alone })
    const { rows } = await client.query(`select current_setting('lock_timeout') as setting`)
    seen.push(rows[0].setting)
    await client.query('commit')
  }

  assert.deepEqual(seen, ['1s', '0'])
})

test('over the handle nothing is alone: the caller’s commit waits as always', async () => {
  const client = await connect()
  const queue = postbag({ executor: client }).queue('relaxed')

  await client.query('begin')
  await queue.send(1)
  const [message] = await queue.receive()
  await queue.extend([message?.receipt ?? ''])
  await queue.nack([message?.receipt ?? ''])
  await queue.receive({ autoAck: true })

  assert.equal(await commitsWaitIn(client), true)
  await client.query('rollback')
})
