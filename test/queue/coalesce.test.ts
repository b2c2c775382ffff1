/* Coalescing: calls of several callers share statements, and each gets the answer that it would have got alone. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import type { Executor } from '../../src/db/call.ts'
import type { QueueError } from '../../src/errors.ts'
import { coalescing } from '../../src/queue/coalesce.ts'
import type { Parcel } from '../../src/queue/message.ts'
import { createQueue, deleteQueue } from '../../src/queue/queues.ts'
import { receive } from '../../src/queue/receive.ts'
import { send } from '../../src/queue/send.ts'
import { ack } from '../../src/queue/settle.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { until } from '../support/until.ts'

const alone = { alone: true }

function parcel(body: string, options: Partial<Parcel> = {}): Parcel {
  return { encoding: 'json', body: JSON.stringify(body), ...options } as Parcel
}

/** The executor, and how many elements each statement had. */
function counting(executor: Executor): Executor & { readonly sizes: number[] } {
  const sizes: number[] = []
  return {
    sizes,
    query(text, values) {
      sizes.push(JSON.parse(String(values[1])).length)
      return executor.query(text, values)
    },
  }
}

async function createWorld(config = {}): Promise<{ database: TestDatabase; executor: Executor; sizes: number[] }> {
  const database = await createDatabase()
  await createQueue(database.pool, 'q', config)
  const counted = counting(database.pool)
  return { database, executor: coalescing(counted), sizes: counted.sizes }
}

async function bodiesIn({ pool }: TestDatabase): Promise<string[]> {
  const { rows } = await pool.query('select body from postbag.message order by message_id')
  return rows.map(({ body }) => JSON.parse(body))
}

/** What became of each: the answer, or the error's code. */
async function outcomes(requests: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(requests)
  return settled.map((result) => (result.status === 'fulfilled' ? 'ok' : result.reason.code))
}

test('the first goes at once, and what comes meanwhile goes together, in its order', async () => {
  const { database, executor, sizes } = await createWorld()

  const sent = await Promise.all(
    ['a', 'b', 'c', 'd'].map((name) => send(executor, 'q', [parcel(`${name}1`), parcel(`${name}2`)], alone)),
  )

  assert.deepEqual(sizes, [2, 6])
  // (The two statements are under way at the same time, on two connections: which is first in the queue is open.)
  const bodies = await bodiesIn(database)
  const ofFirst = bodies.filter((body) => body.startsWith('a'))
  const ofOthers = bodies.filter((body) => !body.startsWith('a'))
  assert.deepEqual(
    [ofFirst, ofOthers],
    [
      ['a1', 'a2'],
      ['b1', 'b2', 'c1', 'c2', 'd1', 'd2'],
    ],
  )
  const ids = sent.map((messages) => messages.map(({ id }) => Number(id)))
  for (const some of [ids[0] ?? [], ids.slice(1).flat()])
    assert.deepEqual(
      some,
      [...some].sort((one, other) => one - other),
    )
  assert.equal(new Set(ids.flat()).size, 8)
})

test('a joint statement holds at most 1000 elements, and a mebibyte', async () => {
  const { executor, sizes } = await createWorld()
  const many = (count: number) => Array.from({ length: count }, () => parcel('x'))
  const large = [parcel('x'.repeat(400_000))]

  await Promise.all([1, 600, 400, 1, 1000].map((count) => send(executor, 'q', many(count), alone)))
  assert.deepEqual(sizes.splice(0), [1, 1000, 1, 1000])

  await Promise.all([many(1), large, large, large].map((parcels) => send(executor, 'q', parcels, alone)))
  assert.deepEqual(sizes, [1, 2, 1])
})

test('what is not the whole transaction, or at another time, is not joined with others', async () => {
  const { executor, sizes } = await createWorld()
  const clock = () => new Date('2030-01-01T00:00:00Z')

  await Promise.all(
    [alone, alone, alone, { ...alone, clock }, {}].map((terms) => send(executor, 'q', [parcel('x')], terms)),
  )

  assert.deepEqual(sizes.sort(), [1, 1, 1, 2])
})

test('one who is refused gets the error it would have got alone, and the others their messages', async () => {
  const { database, executor } = await createWorld()
  const guilty = [parcel('good'), parcel('too high', { priority: 9 })]
  const error = await send(database.pool, 'q', guilty, alone).catch((error) => error)
  assert.equal(error.code, 'request_invalid')

  const requests = ['a', 'b', 'c', 'd'].map((name) => send(executor, 'q', [parcel(name)], alone))
  const refused = send(executor, 'q', guilty, alone)
  const later = send(executor, 'q', [parcel('e')], alone)

  await assert.rejects(refused, { code: error.code, message: error.message })
  await Promise.all([...requests, later])
  assert.deepEqual((await bodiesIn(database)).sort(), ['a', 'b', 'c', 'd', 'e'])
})

test('after a refusal joint statements begin small again', async () => {
  const { database } = await createWorld()
  const later: Promise<unknown>[] = []
  const counted = counting(database.pool)
  const executor = coalescing({
    async query(text, values) {
      try {
        return await counted.query(text, values)
      } catch (error) {
        while (later.length < 8) later.push(send(executor, 'q', [parcel('later')], alone))
        throw error
      }
    },
  })

  const answers = await outcomes(
    [parcel('first'), parcel('too high', { priority: 9 }), parcel('good')].map((one) =>
      send(executor, 'q', [one], alone),
    ),
  )
  await Promise.all(later)

  assert.deepEqual(answers, ['ok', 'request_invalid', 'ok'])
  assert.deepEqual(counted.sizes.slice(0, 2), [1, 2])
  assert.ok(Math.max(...counted.sizes.slice(2)) <= 4, `${counted.sizes}`)
  assert.equal((await bodiesIn(database)).length, 2 + later.length)
})

test('a full queue refuses each, and what was taken is what was answered so', async () => {
  const { database, executor } = await createWorld({ maxMessages: 5 })
  const burst = () => outcomes(Array.from({ length: 12 }, (_, n) => send(executor, 'q', [parcel(`${n}`)], alone)))

  const answers = await burst()
  const kept = (await bodiesIn(database)).length

  assert.equal(kept, answers.filter((answer) => answer === 'ok').length)
  // (It may hold more: a limit does not see what others have not committed yet.)
  assert.ok(kept >= 5, `${kept}`)
  assert.deepEqual(await burst(), Array(12).fill('queue_full'))
  assert.equal((await bodiesIn(database)).length, kept)
})

test('what was refused together goes on without taking all connections, and each hears its own refusal', async () => {
  const { database } = await createWorld({ maxMessages: 1 })
  let underWay = 0
  let most = 0
  const executor = coalescing({
    async query(text, values) {
      most = Math.max(most, ++underWay)
      return database.pool.query(text, values).finally(() => underWay--)
    },
  })

  const answers = await outcomes(Array.from({ length: 300 }, () => send(executor, 'q', [parcel('x')], alone)))

  assert.deepEqual(new Set(answers), new Set(['ok', 'queue_full']))
  assert.ok(most <= 4, `${most} statements at a time`)
})

test('a dedup id that several callers send at once is one message', async () => {
  const { database, executor } = await createWorld()

  const sent = await Promise.all(
    ['a', 'b', 'c', 'd'].map((body) => send(executor, 'q', [parcel(body, { dedupId: 'same' })], alone)),
  )

  assert.deepEqual(
    sent.flat().map(({ duplicate }) => duplicate),
    [false, true, true, true],
  )
  assert.equal(new Set(sent.flat().map(({ id }) => id)).size, 1)
  assert.deepEqual(await bodiesIn(database), ['a'])
})

test('nobody waits for a transaction that only another caller has to wait for', async (t) => {
  const { database, executor } = await createWorld()
  const open = await database.connect()
  await open.query('begin')
  t.after(() => open.query('rollback'))
  await open.query(`select postbag.send('q', '"open"', dedup_id => 'taken')`)

  // More than there are statements at a time.
  const waiting = Array.from({ length: 6 }, () => send(executor, 'q', [parcel('waits', { dedupId: 'taken' })], alone))
  const answers = outcomes(waiting)
  const others = ['a', 'b', 'c'].map((body) => send(executor, 'q', [parcel(body)], alone))
  await Promise.all(others)
  await send(executor, 'q', [parcel('d')], alone)
  await open.query('rollback')

  // (Some may have met it when others waited already.)
  for (const outcome of await answers) assert.ok(outcome === 'ok' || outcome === 'database_unavailable', `${outcome}`)
  assert.deepEqual((await bodiesIn(database)).sort(), ['a', 'b', 'c', 'd', 'waits'])
})

test('of those who wait for a transaction three keep connections, and others are told to try again', async (t) => {
  const { database } = await createWorld()
  const open = await database.connect()
  await open.query('begin')
  t.after(() => open.query('rollback'))
  await open.query(`select postbag.send('q', '"open"', dedup_id => 'taken')`)
  let underWay = 0
  const executor = coalescing({
    query: (text, values) => {
      underWay++
      return database.pool.query(text, values).finally(() => underWay--)
    },
  })
  const sendTaken = () => send(executor, 'q', [parcel('waits', { dedupId: 'taken' })], alone)
  const refused: QueueError[] = []

  const waiting = Array.from({ length: 10 }, () => sendTaken().catch((error) => void refused.push(error)))
  await until('the refusals', async () => (refused.length === 7 ? true : undefined))
  assert.equal(underWay, 3)
  await send(executor, 'q', [parcel('other')], alone)
  await open.query('rollback')
  await Promise.all(waiting)

  for (const { code, message, retryAfterSeconds } of refused) {
    assert.deepEqual([code, retryAfterSeconds], ['database_unavailable', 1])
    assert.match(message, /others wait already: nothing was changed, try again$/)
  }
  assert.deepEqual([refused.length, (await bodiesIn(database)).sort()], [7, ['other', 'waits']])
  // Who has waited counts no more.
  await open.query(`begin; select postbag.send('q', '"open"', dedup_id => 'next')`)
  const next = Array.from({ length: 3 }, () => send(executor, 'q', [parcel('next', { dedupId: 'next' })], alone))
  await send(executor, 'q', [parcel('another')], alone)
  await open.query('rollback')
  assert.deepEqual(await outcomes(next), ['ok', 'ok', 'ok'])
})

test('a backend that dies in the middle leaves each with an error or its message, and nothing twice', async () => {
  const { database, executor, sizes } = await createWorld()
  await database.pool.query(`
    create function die() returns trigger language plpgsql as $$
    begin
      perform pg_terminate_backend(pg_backend_pid());
      return new;
    end $$;
    create trigger die before insert on postbag.message for each row when (new.body = '"dies"') execute function die();
  `)

  const bodies = ['first', 'a', 'b', 'dies', 'c']
  const answers = await outcomes(bodies.map((body) => send(executor, 'q', [parcel(body)], alone)))

  assert.deepEqual(answers, ['ok', ...Array(4).fill('database_unavailable')])
  assert.deepEqual(sizes, [1, 4])
  assert.deepEqual(await bodiesIn(database), ['first'])
  await send(executor, 'q', [parcel('next')], alone)
})

test('a joint statement whose answer is lost is not repeated', async () => {
  const { database } = await createWorld()
  const executor = coalescing({
    async query(text, values) {
      await database.pool.query(text, values)
      throw new Error('Connection terminated unexpectedly')
    },
  })

  const answers = await outcomes(['a', 'b', 'c'].map((body) => send(executor, 'q', [parcel(body)], alone)))

  assert.deepEqual(answers, Array(3).fill('database_unavailable'))
  assert.deepEqual(await bodiesIn(database), ['a', 'b', 'c'])
})

test('a joint statement whose session a pooler has lost is not repeated', async (t) => {
  const { database } = await createWorld()
  const pooler = await startLosingPooler(database.url)
  const pool = new pg.Pool({ connectionString: pooler.url })
  t.after(() => pool.end().then(pooler.stop))
  const counted = counting(pool)
  const executor = coalescing(counted)

  const answers = await outcomes(['a', 'b', 'c', 'd'].map((body) => send(executor, 'q', [parcel(body)], alone)))

  assert.deepEqual(answers, ['ok', ...Array(3).fill('database_unavailable')])
  assert.deepEqual(counted.sizes, [1, 3])
  assert.deepEqual((await bodiesIn(database)).sort(), ['a', 'b', 'c', 'd'])
})

test('sends to a queue that is deleted meanwhile are answered, or told so', async () => {
  const { database, executor } = await createWorld()
  const burst = () => Array.from({ length: 20 }, (_, n) => send(executor, 'q', [parcel(`${n}`)], alone))

  const before = burst()
  const deleting = deleteQueue(database.pool, 'q')
  const answers = await outcomes([...before, ...burst()])
  await deleting

  for (const answer of answers) assert.ok(answer === 'ok' || answer === 'queue_not_found', String(answer))
  assert.deepEqual(new Set(await outcomes(burst())), new Set(['queue_not_found']))
})

test('a caller who goes away takes nobody along', async (t) => {
  const { database } = await createWorld()
  const server = await startOpenServer(database.url)
  t.after(() => server.stop())
  const leaving = new AbortController()
  const post = (body: number, signal?: AbortSignal) =>
    fetch(`${server.url}/v1/queues/q/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ body }),
      signal: signal ?? null,
    })

  const left = Array.from({ length: 5 }, () => post(0, leaving.signal).catch(() => {}))
  const stayed = Array.from({ length: 20 }, (_, n) => post(n + 1))
  await stayed[0]
  leaving.abort()
  const answers = await Promise.all(stayed)

  for (const { status } of answers) assert.equal(status, 201)
  await Promise.all(left)
  const kept = (await bodiesIn(database)).map(Number).filter((body) => body > 0)
  assert.deepEqual(
    kept.sort((one, other) => one - other),
    Array.from({ length: 20 }, (_, n) => n + 1),
  )
})

test('acks of several callers go together, and each receipt gets its outcome', async () => {
  const { database, executor, sizes } = await createWorld()
  await send(
    database.pool,
    'q',
    ['a', 'b', 'c'].map((body) => parcel(body)),
    alone,
  )
  const [a, b, c] = (await receive(database.pool, 'q', { max: 3 }, alone)).map(({ receipt }) => receipt) as [
    string,
    string,
    string,
  ]

  const results = await Promise.all(
    [[a], [b, 'none'], [b], [c, a]].map((receipts) => ack(executor, 'q', { receipts }, alone)),
  )

  assert.deepEqual(
    results.map((settlements) => settlements.map(({ outcome }) => outcome)),
    [['ok'], ['ok', 'receipt_invalid'], ['message_gone'], ['ok', 'message_gone']],
  )
  assert.deepEqual(
    results[1]?.map(({ receipt }) => receipt),
    [b, 'none'],
  )
  assert.deepEqual(sizes, [1, 5])
})

test('an ack does not wait for a transaction that settles a message of another caller', async (t) => {
  const { database, executor } = await createWorld()
  await send(
    database.pool,
    'q',
    ['a', 'b', 'c'].map((body) => parcel(body)),
    alone,
  )
  const [a, b, c] = (await receive(database.pool, 'q', { max: 3 }, alone)).map(({ receipt }) => receipt) as [
    string,
    string,
    string,
  ]
  const open = await database.connect()
  await open.query('begin')
  t.after(() => open.query('rollback'))
  await ack(open, 'q', { receipts: [b] })

  const waiting = [b, b].map((receipt) => ack(executor, 'q', { receipts: [receipt] }, alone))
  const others = await Promise.all([a, c].map((receipt) => ack(executor, 'q', { receipts: [receipt] }, alone)))
  assert.deepEqual(
    others.flat().map(({ outcome }) => outcome),
    ['ok', 'ok'],
  )
  await open.query('commit')

  assert.deepEqual(
    (await Promise.all(waiting)).flat().map(({ outcome }) => outcome),
    ['message_gone', 'message_gone'],
  )
})

/** Before a database: it loses the session of the first joint statement when that is committed, and says so as Supabase's does. */
async function startLosingPooler(databaseUrl: string) {
  const target = new URL(databaseUrl)
  let hasLost = false
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let loses = false
    let answer = ''
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('error', () => {})
      from.once('close', () => to.destroy())
    }
    client.on('data', (bytes) => {
      if (!hasLost && bytes.includes('},{')) loses = hasLost = true
      upstream.write(bytes)
    })
    upstream.on('data', (bytes) => {
      if (!loses) return void client.write(bytes)
      answer += bytes.toString('latin1')
      // (Ready for the next query: the transaction is over.)
      if (answer.endsWith('Z\0\0\0\x05I')) client.end(message('E', 'SFATAL\0VFATAL\0CXX000\0MDbHandler exited\0\0'))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: url.href, stop: () => void server.close() }
}

/** As Postgres writes one. */
function message(type: string, fields: string): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`)
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, Buffer.from(fields)])
}

/** (A duplicate stores nothing, and so is not refused either: so those that are refused have no dedup id.) */
const anyParcel = fc.oneof(
  fc.string({ maxLength: 5 }).map((body) => parcel(body)),
  fc.tuple(fc.string({ maxLength: 5 }), fc.constantFrom('x', 'y')).map(([body, dedupId]) => parcel(body, { dedupId })),
  fc.string({ maxLength: 5 }).map((body) => parcel(body, { group: 'g' })),
  { weight: 1, arbitrary: fc.constant(parcel('too high', { priority: 9 })) },
)

test('however requests come together, each gets the answer it would have got alone', async () => {
  const { database, executor } = await createWorld()
  let round = 0

  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ parcels: fc.array(anyParcel, { minLength: 1, maxLength: 3 }), turns: fc.nat({ max: 3 }) }), {
        minLength: 1,
        maxLength: 12,
      }),
      async (requests) => {
        const queue = `round-${++round}`
        await createQueue(database.pool, queue)
        await createQueue(database.pool, `${queue}-alone`)
        const expected = []
        for (const { parcels } of requests)
          expected.push(await answerOf(send(database.pool, `${queue}-alone`, parcels, alone)))

        const answers = await Promise.all(
          requests.map(async ({ parcels, turns }) => {
            for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
            return answerOf(send(executor, queue, parcels, alone))
          }),
        )

        assert.deepEqual(
          answers.map(({ error }) => error?.replace(queue, '')),
          expected.map(({ error }) => error?.replace(`${queue}-alone`, '')),
        )
        const sent = requests.flatMap(({ parcels }, at) =>
          (answers[at]?.sent ?? []).map((message, place) => ({ ...message, parcel: parcels[place] as Parcel })),
        )
        // Per dedup id one message; which request's it is, is a matter of who came first.
        for (const dedupId of ['x', 'y']) {
          const same = sent.filter((message) => message.parcel.dedupId === dedupId)
          if (same.length === 0) continue
          assert.equal(new Set(same.map(({ id }) => id)).size, 1)
          assert.equal(same.filter(({ duplicate }) => !duplicate).length, 1)
        }
        const { rows } = await database.pool.query(
          'select message_id::text as id, body from postbag.message join postbag.queue using (queue_id) where name = $1',
          [queue],
        )
        const byId = (one: { id: string }, other: { id: string }) => Number(one.id) - Number(other.id)
        assert.deepEqual(
          rows.sort(byId),
          sent
            .filter(({ duplicate }) => !duplicate)
            .map(({ id, parcel }) => ({ id, body: parcel.body }))
            .sort(byId),
        )
      },
    ),
    { numRuns: 40 },
  )
})

async function answerOf(sending: Promise<readonly { id: string; duplicate: boolean }[]>) {
  return sending.then(
    (sent) => ({ sent, error: undefined }),
    (error) => ({ sent: undefined, error: `${error.code}: ${error.message}` as string | undefined }),
  )
}
