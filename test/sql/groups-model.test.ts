/* Random steps, done to a queue with groups in Postgres and to its model in memory (support/sql-groups-model.ts).
 *
 * After each step, what everybody can see is compared with the model, and every group must have one head at most, and one at least or
 * a note that it lacks one. In the end all that was sent and is not done comes out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { type Actor, GroupsModel, type Row } from '../support/sql-groups-model.ts'
import { newSession, runsOf } from '../support/sql-property.ts'
import { at, backendOf, eventually, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

const parcel = fc.record({
  group: fc.constantFrom('a', 'a', 'a', 'b', 'c', null),
  delaySeconds: fc.constantFrom(0, 0, 0, 0, 100),
})
const common = { actor: fc.nat(2), millis: fc.constantFrom<number>(0, 1, 300, 61_000, 61_000, 200_000) }
const picks = fc.array(fc.nat(5), { minLength: 1, maxLength: 3 })
const sending = { verb: fc.constant('send' as const), parcels: fc.array(parcel, { minLength: 1, maxLength: 4 }) }
const receiving = {
  verb: fc.constant('receive' as const),
  max: fc.integer({ min: 1, max: 5 }),
  leaseSeconds: fc.constantFrom(0, 50, 400, 40_000, 40_000),
}
const settling = {
  verb: fc.constantFrom('ack' as const, 'ack' as const, 'nack' as const, 'reject' as const, 'extend' as const),
  picks,
  seconds: fc.constantFrom(0, 0, 100, 400),
}
const beginning = {
  verb: fc.constant('begin' as const),
  level: fc.constantFrom('read committed', 'read committed', 'repeatable read', 'serializable'),
}
const ending = {
  verb: fc.constantFrom(
    'commit' as const,
    'commit' as const,
    'commit' as const,
    'rollback' as const,
    'savepoint' as const,
    'rollbackToSavepoint' as const,
    'terminate' as const,
  ),
}
const sweeping = { verb: fc.constantFrom('redrive' as const, 'redrive' as const, 'purge' as const) }

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ ...sending, ...common }) },
  { weight: 12, arbitrary: fc.record({ ...receiving, ...common }) },
  { weight: 14, arbitrary: fc.record({ ...settling, ...common }) },
  { weight: 6, arbitrary: fc.record({ ...beginning, ...common }) },
  { weight: 8, arbitrary: fc.record({ ...ending, ...common }) },
  { weight: 3, arbitrary: fc.record({ ...sweeping, ...common }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
type Settling = Extract<Step, { picks: unknown }>

class Run {
  readonly model: GroupsModel
  readonly queue: string
  readonly sessions: pg.Client[]
  readonly receipts: string[] = []

  constructor(queue: string, sessions: pg.Client[], isOrdered: boolean) {
    this.queue = queue
    this.sessions = sessions
    this.model = new GroupsModel(isOrdered)
  }

  async do(step: Step): Promise<void> {
    const { model } = this
    model.clock += step.millis
    model.step++
    try {
      await this.#try(step)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || !this.#mayFail(step, error.code)) throw error
      await this.#session(step.actor).query('rollback')
      model.end(step.actor, 'rollback')
    }
    await this.#check()
  }

  /** Everything ends, and what is left comes out, in order, once. */
  async finish(): Promise<void> {
    const { model } = this
    for (const actor of [0, 1, 2]) await this.do({ verb: 'commit', actor, millis: 0 })
    const expected = model.remaining()
    const drained: string[] = []
    model.clock += 100_000_000
    for (let idle = 0; idle < 3; idle++, model.clock += 100_000) {
      const now = at(model.clock / 1000)
      const got = await on(pool, this.queue).receive(20, { now })
      if (got.length === 0) continue
      await on(pool, this.queue).ackWith(receipts(got), { now })
      drained.push(...got.map((message) => message.id))
      idle = -1
    }
    const groupOf = new Map(expected.map((entry) => [entry.id, entry.group]))
    for (const group of model.isOrdered ? ['a', 'b', 'c'] : [])
      assert.deepEqual(
        drained.filter((id) => groupOf.get(id) === group),
        expected.filter((entry) => entry.group === group).map((entry) => entry.id),
        `group ${group} comes out in order`,
      )
    assert.deepEqual(drained.sort(), expected.map((entry) => entry.id).sort())
  }

  async #try(step: Step): Promise<void> {
    const { model } = this
    const { actor } = step
    const session = this.#session(actor)
    const verbs = on(session, this.queue)
    const now = at(model.clock / 1000)
    switch (step.verb) {
      case 'send': {
        const messages = step.parcels.map(({ group, delaySeconds }) => ({
          body: 0,
          ...(delaySeconds > 0 && { delaySeconds }),
          ...(group && { group }),
        }))
        const sent = await verbs.sendBatch(messages, { now, alone: !model.isOpen(actor) })
        return model.send(
          actor,
          step.parcels,
          sent.map(({ id }) => id),
        )
      }
      case 'receive': {
        const got = await verbs.receive(step.max, { lease: `${step.leaseSeconds} s`, now })
        assert.ok(got.length <= step.max)
        model.receive(actor, got, step.leaseSeconds * 1000)
        this.receipts.push(...receipts(got))
        return
      }
      case 'ack':
      case 'nack':
      case 'reject':
      case 'extend':
        return this.#settle(step, now)
      case 'redrive': {
        if (model.hasSnapshot(actor)) return
        const { redriven } = await verbs.redrive({ now })
        const dead = await rowsOf(session, this.queue)
        assert.equal(model.redrive(actor, new Set(dead.filter((row) => row.is_dead).map((row) => row.id))), redriven)
        return
      }
      case 'purge': {
        if (model.hasSnapshot(actor)) return
        const purged = await verbs.purge()
        assert.equal(model.purge(actor, new Set((await rowsOf(session, this.queue)).map((row) => row.id))), purged)
        return
      }
      case 'begin':
        if (model.isOpen(actor)) return
        await session.query(`begin isolation level ${step.level}`)
        // (With the first statement begins the snapshot.)
        await session.query('select from postbag.queue')
        return model.begin(actor, step.level !== 'read committed')
      case 'commit':
      case 'rollback':
        await session.query(step.verb)
        return model.end(actor, step.verb)
      case 'savepoint':
        if (!model.isOpen(actor)) return
        await session.query('savepoint here')
        return model.savepoint(actor)
      case 'rollbackToSavepoint':
        if (model.rollbackToSavepoint(actor)) await session.query('rollback to here')
        return
      case 'terminate':
        this.sessions[actor] = await replaced(session)
        return model.end(actor, 'rollback')
      default:
        return step satisfies never
    }
  }

  async #settle({ actor, verb, picks, seconds }: Settling, now: Date): Promise<void> {
    const { model } = this
    const verbs = on(this.#session(actor), this.queue)
    const picked = picks.flatMap((pick) => this.receipts.at(-1 - pick) ?? [])
    const given = [...new Map(picked.map((receipt) => [receipt.split('.')[0], receipt])).values()]
      .filter((receipt) => !model.isUnseen(actor, receipt))
      // In the order in which they are settled: an extension of one may be that of another.
      .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    if (given.length === 0) return
    const span = `${seconds} s`
    const outcomes =
      verb === 'ack'
        ? await verbs.ackWith(given, { now, alone: !model.isOpen(actor) })
        : verb === 'extend'
          ? await verbs.extend(given, { lease: span, now })
          : await verbs.nack(given, verb === 'reject' ? { dead_letter: true, now } : { delay: span, now })
    const kept = new Set<string>()
    const expected = given.map((receipt) => model.settle(actor, verb, receipt, seconds * 1000, kept))
    for (const [index, outcome] of outcomes.entries())
      if (expected[index] === null) assert.notEqual(outcome, 'ok')
      else assert.equal(outcome, expected[index])
    if (verb === 'nack')
      model.giveBackFollowers(
        actor,
        given.filter((_, index) => expected[index] === 'ok'),
      )
  }

  /** A settlement may wait for another transaction, and one with a snapshot may come too late; nothing else may. */
  #mayFail({ verb, actor }: Step, code: string | undefined): boolean {
    const settles = verb === 'ack' || verb === 'nack' || verb === 'reject' || verb === 'extend'
    if (code === '55P03') return settles && !this.model.isAlone(actor)
    return code === '40001' && this.model.hasSnapshot(actor)
  }

  async #check(): Promise<void> {
    const { rows } = await pool.query<{ group_key: string; heads: string; leases: string; is_pending: boolean }>(
      `select message.group_key, count(*) filter (where message.group_position = 0) as heads,
         count(distinct message.lease_key) filter (where message.leased_until > $2) as leases,
         message.group_key in (select group_key from postbag.group_pending as pending where pending.queue_id = queue.queue_id)
           as is_pending
       from postbag.message join postbag.queue using (queue_id)
       where queue.name = $1 and message.group_position is not null
       group by queue.queue_id, message.group_key`,
      [this.queue, at(this.model.clock / 1000)],
    )
    for (const { group_key, heads, leases, is_pending } of rows) {
      assert.ok(heads === '1' || (heads === '0' && is_pending), `group ${group_key} has ${heads} heads`)
      assert.ok(Number(leases) <= 1, `group ${group_key} has ${leases} leases`)
    }
    assert.equal((await pool.query('select from postbag.group_change')).rowCount, 0)
    this.model.compare(await rowsOf(pool, this.queue), (millis) => at(millis / 1000))
  }

  #session(actor: Actor): pg.Client {
    return this.sessions[actor] as pg.Client
  }
}

async function rowsOf(session: Pick<pg.Client | pg.Pool, 'query'>, queue: string): Promise<Row[]> {
  const { rows } = await session.query(
    `select message_id as id, attempts, leased_until, dead_at is not null as is_dead
     from postbag.message join postbag.queue using (queue_id) where queue.name = $1`,
    [queue],
  )
  return rows
}

async function replaced(session: pg.Client): Promise<pg.Client> {
  const backend = await backendOf(session)
  await pool.query('select pg_terminate_backend($1)', [backend])
  await eventually('the backend has ended', async () => {
    const { rows } = await pool.query('select from pg_stat_activity where pid = $1', [backend])
    return rows.length === 0
  })
  return newSession(db)
}

// (A session goes the short ways, and claims from its cursor, only if its steps follow one another quickly.)
for (const [group_mode, pace, mostMillis] of [
  ['ordered', 'slowly', 200_000],
  ['fair', 'slowly', 200_000],
  ['ordered', 'quickly', 5],
  ['fair', 'quickly', 5],
] as const) {
  test(`three sessions do ${pace} to a queue with ${group_mode} groups what they do to its model, and nothing is stuck`, async () => {
    const sessions = await Promise.all([0, 1, 2].map(() => newSession(db)))

    await fc.assert(
      fc.asyncProperty(fc.array(step, { size: 'max', maxLength: 60 }), async (steps) => {
        const going = new Run(await newQueue(pool, { group_mode }), sessions, group_mode === 'ordered')
        try {
          for (const step of steps) await going.do({ ...step, millis: Math.min(step.millis, mostMillis) })
          await going.finish()
        } finally {
          for (const session of sessions) await session.query('rollback')
        }
      }),
      runsOf(40),
    )
  })
}
