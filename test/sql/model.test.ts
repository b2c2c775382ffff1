/* Random steps, done to a queue in Postgres and to its model in memory (support/sql-model.ts): both must say the same.
 *
 * What is exact, and what is best effort, is said in the header of migrations/fixtures/functions/receive_in_full.sql: a receive finds
 * everything if the last one lies more than a minute back; sooner it may miss what came back behind its cursor, but what it gives is
 * available and in order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { type Actor, type Parcel, QueueModel } from '../support/sql-model.ts'
import { runsOf } from '../support/sql-property.ts'
import { at, backendOf, eventually, newQueue, on, type Received } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const dedupWindowSeconds = 300
const longestPause = 61_000

const parcel = fc.record({
  priority: fc.nat(2),
  delaySeconds: fc.constantFrom(0, 0, 0, 100),
  key: fc.constantFrom(undefined, undefined, 0, 1, 2),
})
const sending = { verb: fc.constant('send' as const), parcels: fc.array(parcel, { minLength: 1, maxLength: 4 }) }
const receiving = { verb: fc.constant('receive' as const), max: fc.integer({ min: 1, max: 4 }) }
const settling = {
  verb: fc.constantFrom('ack' as const, 'ack' as const, 'nack' as const, 'extend' as const),
  picks: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
  seconds: fc.constantFrom(0, 0, 100),
}
const purging = { verb: fc.constant('purge' as const) }

/** Three sessions; transactions that stay open, leases that end, sessions that die. */
const anyStep = (() => {
  const common = { actor: fc.nat(2), millis: fc.constantFrom(0, 1, 300, 61_000, 61_000, 200_000) }
  const transaction = {
    verb: fc.constantFrom('begin' as const, 'begin' as const, 'commit' as const, 'rollback' as const),
  }
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ ...sending, ...common }) },
    { weight: 9, arbitrary: fc.record({ ...receiving, leaseSeconds: fc.constantFrom(0, 50, 400, 40_000), ...common }) },
    { weight: 8, arbitrary: fc.record({ ...settling, ...common }) },
    { weight: 1, arbitrary: fc.record({ ...purging, ...common }) },
    { weight: 5, arbitrary: fc.record({ ...transaction, ...common }) },
    { weight: 1, arbitrary: fc.record({ verb: fc.constant('terminate' as const), ...common }) },
  )
})()

/** One session whose every step is committed, and no lease that ends. */
const singleStep = (() => {
  const common = { actor: fc.constant(0), millis: fc.constantFrom(0, 1, 300, 5000) }
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ ...sending, ...common }) },
    { weight: 9, arbitrary: fc.record({ ...receiving, leaseSeconds: fc.constant(43_200), ...common }) },
    {
      weight: 5,
      arbitrary: fc.record({ ...settling, verb: fc.constantFrom('ack' as const, 'nack' as const), ...common }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        ...settling,
        verb: fc.constant('extend' as const),
        seconds: fc.constant(43_200),
        ...common,
      }),
    },
    { weight: 1, arbitrary: fc.record({ ...purging, ...common }) },
  )
})()

type Step =
  | (typeof anyStep extends fc.Arbitrary<infer T> ? T : never)
  | (typeof singleStep extends fc.Arbitrary<infer T> ? T : never)

class Run {
  readonly model = new QueueModel(dedupWindowSeconds * 1000)
  readonly queue: string
  readonly sessions: pg.Client[]
  /** What was handed out, the oldest first, undone receives included. */
  readonly receipts: string[] = []
  lastReceive = Number.NEGATIVE_INFINITY
  bodies = 0

  constructor(queue: string, sessions: pg.Client[]) {
    this.queue = queue
    this.sessions = sessions
  }

  async do(step: Step, alwaysExact: boolean): Promise<void> {
    const { model } = this
    const { actor } = step
    model.clock += step.millis
    const now = at(model.clock / 1000)
    const verbs = on(this.#session(actor), this.queue)
    switch (step.verb) {
      case 'send': {
        const parcels = step.parcels.map((given) => this.#parcel(actor, given))
        model.send(actor, parcels, await verbs.sendBatch(parcels, { now }))
        return
      }
      case 'receive': {
        const { max, leaseSeconds } = step
        const exact = alwaysExact || model.clock - this.lastReceive >= longestPause
        this.lastReceive = model.clock
        return this.#received(
          actor,
          max,
          leaseSeconds,
          exact,
          await verbs.receive(max, { lease: `${leaseSeconds} s`, now }),
        )
      }
      case 'ack':
      case 'nack':
      case 'extend': {
        const given = this.#pick(actor, step.picks)
        if (given.length === 0) return
        const span = `${step.seconds} s`
        const outcomes =
          step.verb === 'ack'
            ? await verbs.ack(...given)
            : step.verb === 'nack'
              ? await verbs.nack(given, { delay: span, now })
              : await verbs.extend(given, { lease: span, now })
        assert.deepEqual(
          outcomes,
          given.map((receipt) => model.settle(actor, step.verb, receipt, step.seconds)),
        )
        return
      }
      case 'purge':
        assert.equal(await verbs.purge(), model.purge(actor))
        return
      case 'begin':
        if (model.isOpen(actor)) return
        await this.#session(actor).query('begin')
        model.begin(actor)
        return
      case 'commit':
      case 'rollback':
        await this.#session(actor).query(step.verb)
        model.end(actor, step.verb)
        return
      case 'terminate':
        this.sessions[actor] = await replaced(this.#session(actor))
        model.end(actor, 'rollback')
    }
  }

  /** Everything ends; what is left comes out in order, and then the queue is empty. */
  async finish(): Promise<void> {
    for (const actor of [0, 1, 2]) await this.do({ verb: 'commit', actor, millis: 0 }, false)
    const { model } = this
    model.clock += 100_000_000
    const left = await on(pool, this.queue).peek(1000)
    assert.deepEqual(
      left.map((message) => [message.id, message.attempts]),
      model.remaining().map((entry) => [entry.id, entry.attempts]),
    )
    const expected = model.receivable(0).map((entry) => entry.id)
    const verbs = on(this.#session(0), this.queue)
    const received = await verbs.receive(1000, { now: at(model.clock / 1000) })
    assert.deepEqual(
      received.map((message) => message.id),
      expected,
    )
    assert.equal(expected.length, left.length)
  }

  #received(actor: Actor, max: number, leaseSeconds: number, exact: boolean, got: readonly Received[]): void {
    const { model } = this
    const available = model.receivable(actor)
    const ids = got.map((message) => message.id)
    assert.ok(got.length <= max)
    if (exact)
      assert.deepEqual(
        ids,
        available.slice(0, max).map((entry) => entry.id),
      )
    // In order, nothing twice, and nothing that is somebody else's.
    const taken = available.filter((entry) => ids.includes(entry.id))
    assert.deepEqual(
      ids,
      taken.map((entry) => entry.id),
    )
    for (const [index, entry] of taken.entries()) {
      const { receipt, body, attempts, priority, leased_until } = got[index] as Received
      model.receive(actor, entry, leaseSeconds, receipt)
      assert.deepEqual(
        [body, attempts, priority, leased_until],
        [String(entry.body), entry.attempts, entry.priority, at((entry.leasedUntil as number) / 1000)],
      )
      this.receipts.push(receipt)
    }
  }

  #session(actor: Actor): pg.Client {
    return this.sessions[actor] as pg.Client
  }

  #parcel(actor: Actor, given: { priority: number; delaySeconds: number; key: number | undefined }): Parcel {
    // A new name every 3000 s: an id that ended long ago may be locked by whoever is forgetting it.
    const dedupId = given.key === undefined ? undefined : `${given.key}-${Math.floor(this.model.clock / 3_000_000)}`
    const free = dedupId !== undefined && !this.model.isKeyHeld(actor, dedupId)
    return {
      body: this.bodies++,
      priority: given.priority,
      delaySeconds: given.delaySeconds,
      dedupId: free ? dedupId : undefined,
    }
  }

  /** Receipts, old and new ones, of different messages that nobody else holds. */
  #pick(actor: Actor, picks: readonly number[]): string[] {
    const usable = this.receipts.filter((receipt) => !this.model.isHeld(actor, receipt))
    const picked = picks.flatMap((pick) => usable.at(-1 - (pick % Math.max(usable.length, 1))) ?? [])
    return [...new Map(picked.map((receipt) => [receipt.split('.')[0], receipt])).values()]
  }
}

async function replaced(session: pg.Client): Promise<pg.Client> {
  const backend = await backendOf(session)
  await pool.query('select pg_terminate_backend($1)', [backend])
  await eventually('the backend has ended', async () => {
    const { rows } = await pool.query('select from pg_stat_activity where pid = $1', [backend])
    return rows.length === 0
  })
  return newSession()
}

async function newSession(): Promise<pg.Client> {
  const session = await db.connect()
  await session.query(`set statement_timeout = '5s'`)
  return session
}

async function run(steps: readonly Step[], sessions: pg.Client[], alwaysExact: boolean): Promise<void> {
  const queue = await newQueue(pool, { max_priority: 2, dedup_window: `${dedupWindowSeconds} s` })
  const going = new Run(queue, sessions)
  try {
    for (const step of steps) await going.do(step, alwaysExact)
    await going.finish()
  } finally {
    for (const session of sessions) await session.query('rollback')
  }
}

test('three sessions with open transactions, ended leases and sudden ends do to a queue what they do to its model', async () => {
  const sessions = await Promise.all([0, 1, 2].map(newSession))

  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { size: 'max', maxLength: 60 }), (steps) => run(steps, sessions, false)),
    runsOf(100),
  )
})

test('a single consumer whose every step is committed receives exactly in order, whatever its cursor', async () => {
  const sessions = [await newSession(), await newSession(), await newSession()]

  await fc.assert(
    fc.asyncProperty(fc.array(singleStep, { size: 'max', maxLength: 60 }), (steps) => run(steps, sessions, true)),
    runsOf(100),
  )
})
