/* What is sent in a transaction of one's own reaches who waits by the notification of its commit: whatever sends, and wherever somebody
 * waits. That it is no poll is seen at the connections that listen: from the moment at which all is watched to the commit, they are
 * asked nothing. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Client, createClient } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { bind, declare } from '../support/sql-exchanges.ts'
import { call, newQueue, on, type Session } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'
import { createWaiting, listenerSettles, watchers } from './waiting.ts'

const database = await createDatabase()
const { pool } = database
const here = await createWaiting(database)
const server = await startOpenServer(database.url)
after(() => server.stop())
const client: Client = createClient({ url: server.url })

/** In a transaction of the session; each sends one message. */
const sends: Readonly<Record<string, (session: Session, queue: string) => Promise<unknown>>> = {
  'postbag.send': (session, queue) => on(session, queue).send('sent'),
  'postbag.send to a group': (session, queue) => on(session, queue).send('sent', { group_key: 'g' }),
  'postbag.publish': (session, queue) => call(session, 'publish', { exchange: queue, body: '"sent"' }),
  'a change of a table': (session, queue) => session.query(`insert into "${queue}" values (1)`),
  'an insert into the view outbox': (session, queue) =>
    session.query(`insert into postbag.outbox (aggregatetype, payload) values ($1, '"sent"')`, [queue]),
}

/** Resolves when the queue's first message has come. */
const waits: Readonly<Record<string, (queue: string) => Promise<unknown>>> = {
  'a long poll over HTTP': async (queue) => {
    const body = '{"waitSeconds":20}'
    const answer = await fetch(`${server.url}/v1/queues/${queue}/receive`, { method: 'POST', body })
    const { messages } = (await answer.json()) as { messages: unknown[] }
    return messages[0]
  },
  "the client's consume": async (queue) => {
    for await (const message of client.queue(queue).consume()) return message
    return undefined
  },
  'a hub in the process': async (queue) => (await here.wait(queue))[0],
}

interface Case {
  readonly name: string
  readonly queue: string
  readonly send: (session: Session) => Promise<unknown>
  readonly found: Promise<unknown>
}

const cases = await Promise.all(
  Object.entries(sends).flatMap(([sending, send]) =>
    Object.entries(waits).map(([waiting, wait]) => begin(`${sending} reaches ${waiting}`, send, wait)),
  ),
)
before(async () => {
  for (const { queue } of cases) {
    await until(`the watch of ${queue}`, async () => (await watchers(pool, queue))[0])
  }
  await listenerSettles(pool)
})

describe('sent in an open transaction, it comes with the commit:', () => {
  for (const made of cases) {
    test(made.name, async () => {
      const session = await database.connect()
      const [asked, looks] = [await lastAsked(), here.looks]

      await session.query('begin')
      await made.send(session)
      assert.deepEqual([await lastAsked(), here.looks], [asked, looks])
      await session.query('commit')

      assert.ok(await made.found)
      assert.ok(here.looks - looks <= 1, `${here.looks - looks} looks`)
    })
  }
})

test('a message that stays uncommitted comes when it commits, long after later ones have been consumed', async () => {
  const queue = await newQueue(pool)
  const [slow, alsoSlow] = await Promise.all([database.connect(), database.connect()])
  await slow.query('begin isolation level repeatable read')
  await on(slow, queue).send('early')
  await alsoSlow.query('begin')
  await on(alsoSlow, queue).send('early, in a group', { group_key: 'g' })

  for (let later = 1; later <= 20; later++) {
    const waiting = here.wait(queue)
    await on(pool, queue).send(later, later % 2 === 0 ? { group_key: 'g' } : {})
    assert.deepEqual(await waiting, [String(later)])
  }
  const waiting = here.wait(queue)
  await here.watched(queue)
  await slow.query('commit')
  assert.deepEqual(await waiting, ['"early"'])
  await alsoSlow.query('commit')

  assert.deepEqual(await here.wait(queue), ['"early, in a group"'])
})

async function begin(name: string, send: (typeof sends)[string], wait: (typeof waits)[string]): Promise<Case> {
  const queue = await newQueue(pool)
  await declare(pool, queue, { type: 'fanout' })
  await bind(pool, queue, { queue })
  await pool.query(`create table "${queue}" (id integer)`)
  await call(pool, 'send_changes', { relation: `"${queue}"`, queue })
  return { name, queue, send: (session) => send(session, queue), found: wait(queue) }
}

/** What the connections that listen were asked last, and when, once they rest. */
function lastAsked(): Promise<string> {
  return until('connections that listen and rest', async () => {
    const { rows } = await pool.query(
      `select string_agg(pid || ' ' || query_start, ', ' order by pid) as asked, count(*)::integer as resting
      from pg_stat_activity where application_name = 'postbag listen' and datname = current_database() and state = 'idle'`,
    )
    return rows[0].resting === 2 ? rows[0].asked : undefined
  })
}
