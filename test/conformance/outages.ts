/* What happens while the database is away, and after. These disturb the others, so each runs alone. */
import assert from 'node:assert/strict'
import { on } from '../support/sql-verbs.ts'
import { isWaiting, whileDatabaseIsAway, whileMessagesAreLocked } from './disturb.ts'
import { type Answer, assertProblem, type Case, call, json } from './target.ts'
import { newQueue } from './test-queue.ts'

/** The error of an answer while the database is away, and that the answer says when to try again. */
function assertAway(answer: Answer): void {
  assertProblem(answer, 'database_unavailable', /^the database cannot be reached/)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9][0-9]*$/)
}

export const outageCases: readonly Case[] = [
  {
    claim:
      'with the database away, requests are database_unavailable with Retry-After, the process lives, and all recovers by itself',
    alone: true,
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 'before' })

      await whileDatabaseIsAway(target, async () => {
        assertAway(await queue.post('messages', { body: { body: 'lost' } }))
        assertAway(await queue.post('receive', { body: { waitSeconds: 20 } }))
        assertAway(await call(target, 'GET', '/v1/queues'))
        const notReady = await call(target, 'GET', '/readyz', { token: null })
        assert.equal(notReady.status, 503)
        assert.match(notReady.text, /"code":"database_unavailable"/)
        assert.match(notReady.headers.get('retry-after') ?? '', /^[1-9]/)
        json(await call(target, 'GET', '/healthz', { token: null }))
        assertProblem(await call(target, 'GET', queue.path, { token: null }), 'token_missing')
      })

      json(await call(target, 'GET', '/readyz', { token: null }))
      await queue.send({ body: 'after' })
      const bodies = (await queue.receive({ max: 10 })).map(({ body }) => body)
      assert.deepEqual(bodies, ['before', 'after'])
    },
  },
  {
    claim: 'a waiting receive outlives the loss of its connection, and gives up when the database stays away',
    alone: true,
    async run(target) {
      const queue = await newQueue(target)
      const outlives = queue.receiveOne({ waitSeconds: 20 })
      await isWaiting(target, queue.name)
      target.proxy.cut()
      await isWaiting(target, queue.name)
      await on(target.database.pool, queue.name).send('after the cut')
      assert.equal((await outlives).body, 'after the cut')

      const givesUp = queue.post('receive', { body: { waitSeconds: 20 } })
      await isWaiting(target, queue.name)
      await whileDatabaseIsAway(target, async () => assertAway(await givesUp))
    },
  },
  {
    claim: 'a connection that breaks in the middle of a statement is database_unavailable, and the next request works',
    alone: true,
    async run(target) {
      const queue = await newQueue(target)
      await whileMessagesAreLocked(target, async (hanging) => {
        const broken = queue.post('messages', { body: { body: 1 } })
        await hanging()
        target.proxy.cut()
        assertAway(await broken)
      })
      json(await call(target, 'GET', `${queue.path}/stats`))
    },
  },
  {
    claim: 'a database that ends all sessions (a restart, a failover) is survived',
    alone: true,
    async run(target) {
      const queue = await newQueue(target)
      await Promise.all(Array.from({ length: 8 }, (_, body) => queue.send({ body })))
      const admin = await target.database.connect()
      await admin.query(
        // (Until they have ended: the signal alone may come late.)
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'postbag' and datname = current_database()`,
      )

      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, body) => queue.post('messages', { body: { body } })),
      )
      for (const answer of answers) if (answer.status !== 201) assertAway(answer)

      assert.equal((await queue.post('messages', { body: { body: 'next' } })).status, 201)
    },
  },
]
