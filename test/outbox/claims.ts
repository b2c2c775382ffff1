/* What holds in a transaction of every database library. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { postbag } from '../../src/queue/direct.ts'
import { type Library, orderTable, type Transaction } from '../runtimes/outbox/library.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const bodies: readonly (readonly [name: string, body: unknown, encoding?: 'text'])[] = [
  ['quotes, question marks and placeholders', { text: `it's "so" \\ ? \\? ?? $1 $2::text :name {} %s; --` }],
  ['any alphabet, emoji, and separators of lines', 'grüße 世界 👩‍👩‍👧 \u2028\u2029\t\r\n'],
  ['a NUL and half a surrogate, in JSON', ['\u0000', '\ud800']],
  ['null', null],
  ['nulls and nesting', { a: [null, { b: [[], {}, { snake_case: null, 'kebab-case': 1.5e300 }] }], '': false }],
  ['a number', -0.5],
  ['a string that looks like JSON', '{"a":1}'],
  ['100 kB', { text: 'x".'.repeat(33_334) }],
  ['a text', `it's ? "$1" 👋 \u2028`, 'text'],
  ['an empty text', '', 'text'],
  ['a text that looks like JSON', '{"a":1}', 'text'],
  ['bytes', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
]

/** A suite named like the library. */
export function outboxClaims(name: string, open: (url: string) => Promise<Library>): void {
  describe(name, () => {
    let database: TestDatabase
    let library: Library
    before(async () => {
      database = await createDatabase()
      await database.pool.query(orderTable)
      library = await open(database.url)
    })
    after(async () => {
      await library.close()
      // (A pool may be closed before its sessions are gone, and who is then cut off says so, after the last test.)
      await until('its sessions are gone', async () => {
        const { rows } = await database.pool.query(
          'select 1 where not exists (select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid())',
        )
        return rows[0]
      })
      await database.drop()
    })

    let made = 0
    /** A queue of the test's own, seen from outside of any transaction, over pg. */
    async function newQueue() {
      const name = `queue-${++made}`
      const queue = postbag({ executor: database.pool }).queue(name)
      await queue.create()
      return { name, queue, bodies: async () => (await queue.receive({ max: 1000 })).map(({ body }) => body) }
    }
    const within = (tx: Pick<Transaction, 'executor'>, queue: string) => postbag({ executor: tx.executor }).queue(queue)
    async function orders(prefix: string): Promise<string[]> {
      const { rows } = await database.pool.query(
        'select item from example_order where starts_with(item, $1) order by id',
        [prefix],
      )
      return rows.map(({ item }) => item)
    }

    test('a commit delivers exactly one message, and none before', async () => {
      const { name, bodies } = await newQueue()
      let before: unknown[] = ['not looked yet']

      await library.transaction(async (tx) => {
        await tx.insert('committed')
        await within(tx, name).send({ order: 1 })
        before = await bodies()
      })

      assert.deepEqual(before, [])
      assert.deepEqual(await bodies(), [{ order: 1 }])
      assert.deepEqual(await orders('committed'), ['committed'])
    })

    test('a rollback delivers none', async () => {
      const { name, bodies } = await newQueue()

      await assert.rejects(
        library.transaction(async (tx) => {
          await tx.insert('rolled back')
          await within(tx, name).send({ order: 1 })
          throw new Error('out of stock')
        }),
        /out of stock/,
      )

      assert.deepEqual(await bodies(), [])
      assert.deepEqual(await orders('rolled back'), [])
    })

    test('a savepoint that is rolled back takes its message with it, and leaves that of the transaction', async () => {
      const { name, bodies } = await newQueue()

      await library.transaction(async (tx) => {
        await tx.insert('outer')
        await within(tx, name).send('outer')
        await assert.rejects(
          tx.savepoint(async (inner) => {
            await inner.insert('outer, inner')
            await within(inner, name).send('inner')
            throw new Error('only this')
          }),
          /only this/,
        )
        await tx.savepoint(async (inner) => {
          await within(inner, name).send('second inner')
        })
      })

      assert.deepEqual(await bodies(), ['outer', 'second inner'])
      assert.deepEqual(await orders('outer'), ['outer'])
    })

    for (const [what, body, encoding] of bodies) {
      test(`a body comes back as it was sent: ${what}`, async () => {
        const { name, queue } = await newQueue()

        await library.transaction(async (tx) => {
          await within(tx, name).send(body, encoding && { encoding })
        })

        const [overPg] = await queue.receive({ leaseSeconds: 0 })
        const [over] = await within(library, name).receive()
        assert.deepEqual(overPg?.body, body)
        assert.deepEqual(over?.body, body)
      })
    }

    test('a batch of 100 is sent in its order', async () => {
      const { name, bodies } = await newQueue()
      const numbers = Array.from({ length: 100 }, (_, number) => ({ number }))

      await library.transaction(async (tx) => {
        const sent = await within(tx, name).sendBatch(numbers.map((body) => ({ body })))
        assert.equal(new Set(sent.map(({ id }) => id)).size, 100)
      })

      assert.deepEqual(await bodies(), numbers)
    })

    test('options arrive: type, headers, priority, group, content type, dedup id, delay, time', async () => {
      const { name, queue } = await newQueue()
      await queue.create({ maxPriority: 9, groups: 'ordered', retryDelaySeconds: 0.5, maxMessages: 1000 })
      const headers = { snake_case: "it's", 'kebab-case': '👋 ?' }
      const availableAt = new Date(Date.now() + 30 * 86_400_000).toISOString()

      await library.transaction(async (tx) => {
        const { send } = within(tx, name)
        const full = {
          type: 'order.created',
          headers,
          priority: 7,
          group: 'ü',
          contentType: 'text/x-y',
          ttlSeconds: 3600,
        }
        const { id } = await send(1, { ...full, dedupId: 'one' })
        assert.deepEqual(await send(1, { dedupId: 'one' }), { id, duplicate: true })
        await send(2, { delaySeconds: 60.5 })
        await send(3, { availableAt })
      })

      for (const seen of [queue, within(library, name)]) {
        const { messages } = await seen.peek()
        const [first, delayed, timed] = messages
        assert.equal(messages.length, 3)
        assert.deepEqual(first?.headers, headers)
        assert.deepEqual(
          [first?.type, first?.priority, first?.group, first?.contentType, first?.state],
          ['order.created', 7, 'ü', 'text/x-y', 'ready'],
        )
        assert.equal(Date.parse(first?.expiresAt ?? '') - Date.parse(first?.sentAt ?? ''), 3_600_000)
        assert.equal(Date.parse(delayed?.availableAt ?? '') - Date.parse(delayed?.sentAt ?? ''), 60_500)
        assert.equal(timed?.availableAt, availableAt)
      }
    })

    test('what is received and acked in a transaction is gone with its commit, and comes again if it rolls back', async () => {
      const { name, queue } = await newQueue()
      await queue.send('work', { headers: { snake_case: '1' } })
      const work = (fail: boolean) =>
        library.transaction(async (tx) => {
          const { receive, ack } = within(tx, name)
          const [message] = await receive({ max: 10, leaseSeconds: 30 })
          assert.deepEqual([message?.body, message?.attempts, message?.headers], ['work', 1, { snake_case: '1' }])
          assert.ok(Date.parse(message?.leasedUntil ?? '') > Date.parse(message?.sentAt ?? ''))
          const settled = await ack([message?.receipt ?? '', 'nonsense'])
          assert.deepEqual(
            settled.map(({ outcome }) => outcome),
            ['ok', 'receipt_invalid'],
          )
          if (fail) throw new Error('did not work')
        })

      await assert.rejects(work(true), /did not work/)
      await work(false)

      assert.equal((await queue.peek()).messages.length, 0)
    })

    test('every other verb works, and says what it says over pg', async () => {
      const name = `verbs-${++made}`
      const bag = postbag({ executor: library.executor })
      const other = postbag({ executor: database.pool })
      const queue = bag.queue(name)
      const settings = { leaseSeconds: 1.5, maxAttempts: 2, retryJitter: 0.25, maxBytes: 2 ** 40, dedupBy: 'content' }

      const info = await queue.create({ ...settings, dedupBy: 'content' })
      assert.deepEqual({ ...info, ...settings }, info)
      assert.deepEqual(await queue.info(), await other.queue(name).info())
      const without = await queue.create({ ...settings, dedupBy: 'content', ttlSeconds: null, maxMessages: null })
      assert.deepEqual(without.origins?.['ttlSeconds'], 'queue')
      assert.deepEqual(await bag.queues({ prefix: 'verbs' }), await other.queues({ prefix: 'verbs' }))

      await queue.sendBatch([{ body: 1 }, { body: 2 }, { body: 3 }])
      const [first, second] = await queue.receive({ max: 2 })
      assert.deepEqual(await queue.extend([first?.receipt ?? ''], { leaseSeconds: 60 }), [
        { receipt: first?.receipt, outcome: 'ok' },
      ])
      await queue.nack([first?.receipt ?? ''], { error: `it's "?" \0`, deadLetter: true })
      await queue.nack([second?.receipt ?? ''], { delaySeconds: 30 })
      assert.deepEqual(await queue.peek(), await other.queue(name).peek())
      assert.deepEqual(
        (await queue.peek()).messages.map(({ state, lastError }) => [state, lastError]),
        [
          ['dead', `it's "?" \uFFFD`],
          ['delayed', undefined],
          ['ready', undefined],
        ],
      )
      assert.deepEqual(await queue.get(first?.id ?? ''), await other.queue(name).get(first?.id ?? ''))

      const { ready, delayed, dead } = await queue.stats()
      assert.deepEqual([ready, delayed, dead], [1, 1, 1])
      assert.equal((await queue.redrive({ reason: 'rejected' })).redrivenMessages, 1)
      assert.equal((await queue.pause()).paused, true)
      assert.deepEqual(await queue.receive(), [])
      assert.equal((await queue.resume()).paused, false)
      assert.equal((await bag.maintain()).expiredMessages, 0)
      assert.equal(await bag.inbox('billing', name), true)
      assert.equal(await bag.inbox('billing', name), false)
      assert.equal(await queue.purge(), 3)
      assert.equal(await queue.delete(), 0)
    })

    test('an error of ours is a QueueError with its code, and inside a savepoint the transaction goes on', async () => {
      const { name, bodies } = await newQueue()

      await library.transaction(async (tx) => {
        await assert.rejects(
          tx.savepoint(async (inner) => {
            await within(inner, 'no-such-queue').send(1)
          }),
          { name: 'QueueError', code: 'queue_not_found', message: /^queue.*no-such-queue/ },
        )
        await within(tx, name).send('went on')
      })

      assert.deepEqual(await bodies(), ['went on'])
    })

    test('a broken rule and an unreadable value are request_invalid', async () => {
      const queue = within(library, 'Not a name!')

      await assert.rejects(queue.create(), { code: 'request_invalid', message: /^refused by the rule: queue name / })
      await assert.rejects(within(library, 'a').create({ retryJitter: Number.NaN }), { code: 'request_invalid' })
    })

    test("an error that is not ours is the library's own", async () => {
      let theirs: unknown
      await assert.rejects(
        library.transaction(async (tx) => {
          await within(tx, 'no-such-queue')
            .send(1)
            .catch(() => {})
          // From here on Postgres refuses every statement of this transaction.
          await within(tx, 'any')
            .info()
            .catch((error) => {
              theirs = error
            })
          throw new Error('roll back')
        }),
      )

      assert.ok(theirs instanceof Error)
      assert.notEqual(theirs.name, 'QueueError')
      assert.match(`${theirs.message} ${theirs.cause}`, /current transaction is aborted/)
    })
  })
}
