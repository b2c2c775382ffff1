/* Queues with random settings, and random steps that are done to them (../sql/settings-property.test.ts): what must hold after each step, whatever
 * is combined with what, and in the end. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import pg from 'pg'
import { at, call, on, type QueueConfig, type Received, receipts } from './sql-verbs.ts'

/** Seldom, so that a few meet: with all of them nothing is ever handed out. */
const maybe = <T>(...values: T[]) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constantFrom(...values) })
export const settings = fc.record({
  durability: fc.constantFrom('full', 'full', 'volatile'),
  delivery_order: fc.constantFrom('fifo', 'fifo', 'fifo', 'fifo', 'lifo'),
  group_mode: fc.constantFrom('ordered', 'ordered', 'fair'),
  max_priority: fc.constantFrom(0, 0, 2),
  max_attempts: maybe(1, 2, 3),
  retry_delay: maybe('0 s', '100 s'),
  ttl: maybe('500 s'),
  max_in_flight: maybe(1, 3),
  rate: maybe(0.01, 0.1),
  burst: maybe(2),
  group_rate: maybe(0.01),
  group_burst: maybe(2),
  max_messages: maybe(6),
  overflow: fc.constantFrom('reject', 'drop-oldest'),
  dead_letters: fc.constantFrom('here', 'itself', 'other'),
  dead_letter_retention: maybe('1000 s'),
})
export type Settings = typeof settings extends fc.Arbitrary<infer T> ? T : never

const parcel = fc.record({
  group: fc.constantFrom('a', 'a', 'a', 'b', 'c', null),
  priority: fc.nat(2),
  delaySeconds: fc.constantFrom(0, 0, 0, 100),
  ttlSeconds: fc.constantFrom(undefined, undefined, undefined, 300),
})
const common = { actor: fc.nat(2), millis: fc.constantFrom<number>(0, 1, 300, 61_000, 61_000, 200_000) }
export const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      verb: fc.constant('send' as const),
      parcels: fc.array(parcel, { minLength: 1, maxLength: 4 }),
      ...common,
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      verb: fc.constant('receive' as const),
      max: fc.integer({ min: 1, max: 5 }),
      leaseSeconds: fc.constantFrom(50, 400, 40_000, 40_000),
      auto_ack: fc.constantFrom(false, false, false, false, false, false, false, true),
      ...common,
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      verb: fc.constantFrom(
        'ack' as const,
        'ack' as const,
        'nack' as const,
        'nack' as const,
        'untried' as const,
        'reject' as const,
        'extend' as const,
      ),
      picks: fc.array(fc.constantFrom(0, 0, 1, 1, 2, 3, 4, 5), { minLength: 1, maxLength: 3 }),
      seconds: fc.constantFrom(0, 0, 100, 400),
      ...common,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      verb: fc.constantFrom('redrive' as const, 'redrive' as const, 'maintain' as const),
      ...common,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      verb: fc.constantFrom('pause' as const, 'resume' as const, 'resume' as const, 'purge' as const),
      ...common,
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      verb: fc.constantFrom('begin' as const, 'commit' as const, 'commit' as const, 'rollback' as const),
      ...common,
    }),
  },
)
export const stepOrChange = fc.oneof(
  { weight: 10, arbitrary: step },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('configure' as const), settings, ...common }) },
)
export type Step = typeof stepOrChange extends fc.Arbitrary<infer T> ? T : never

interface Row {
  readonly id: string
  readonly queue: string
  readonly group_key: string | null
  readonly lease_key: number | null
  readonly attempts: number
  readonly leased_until: Date | null
  readonly state: string
}

/** When so many were handed out, of which group. */
interface HandedOut {
  readonly group: string | null
  readonly at: number
}

export class Run {
  readonly #pool: pg.Pool
  clock = 0
  settings: Settings
  /** Whether the settings were others once, so that there may be more than they allow. */
  #isChanged = false
  /** Whether a setting said so far that some may be deleted that nobody acked. */
  #mayLose = false
  readonly queue: string
  readonly other: string
  readonly sessions: pg.Client[]
  readonly #open = new Set<number>()
  /** What an open transaction did, to be true when it commits. */
  readonly #pending = new Map<number, (() => void)[]>()
  readonly #sent = new Set<string>()
  readonly #acked = new Set<string>()
  #isPurged = false
  /** Whether something was sent that may expire. */
  #hasEnd = false
  readonly #handedOut: HandedOut[] = []
  #receipts: string[] = []

  constructor(pool: pg.Pool, settings: Settings, queue: string, other: string, sessions: pg.Client[]) {
    this.#pool = pool
    this.settings = settings
    this.queue = queue
    this.other = other
    this.sessions = sessions
  }

  get now(): Date {
    return at(this.clock / 1000)
  }

  async do(step: Step): Promise<void> {
    this.clock += step.millis
    const { actor } = step
    try {
      await this.#try(step)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || !this.#mayFail(step, error)) throw error
      await this.#session(actor).query('rollback')
      this.#end(actor, false)
    }
    await this.#check()
  }

  /** Everything ends, and what is left comes out. */
  async finish(): Promise<void> {
    for (const actor of [0, 1, 2]) {
      await this.#session(actor).query('commit')
      this.#end(actor, true)
    }
    await on(this.#pool, this.queue).resume(this.now)
    await this.#check()
    const before = new Map((await this.#rows()).map((row) => [row.id, row]))
    this.#noteLosses()
    for (const id of this.#sent) {
      if (this.#acked.has(id)) assert.equal(before.get(id), undefined, `${id} was acked`)
      else if (!this.#mayLose) assert.ok(before.get(id), `${id} was sent`)
    }
    for (let idle = 0; idle < 5; idle++) {
      this.clock += 50_000_000
      const got = await on(this.#pool, this.queue).receive(20, { now: this.now, alone: true })
      this.#hasReceived(got)
      if (got.length === 0) continue
      await on(this.#pool, this.queue).ackWith(receipts(got), { now: this.now })
      idle = -1
    }
    this.clock += 1000
    await on(this.#pool, this.queue).maintain(1000, this.now)
    const left = (await this.#rows()).filter((row) => row.queue === this.queue && row.state !== 'dead')
    assert.deepEqual(left, [], 'all comes out')
    if (!this.#isChanged) this.#checkRates()
  }

  #noteLosses(): void {
    const { max_messages, overflow, dead_letter_retention, dead_letters } = this.settings
    const isDropped = max_messages !== undefined && overflow === 'drop-oldest'
    this.#mayLose ||=
      this.#isPurged || dead_letter_retention !== undefined || (dead_letters === 'here' && (this.#hasEnd || isDropped))
  }

  #session(actor: number): pg.Client {
    return this.sessions[actor] as pg.Client
  }

  /** False if these settings do not go together. */
  async configure(settings: Settings): Promise<boolean> {
    try {
      await call(this.#pool, 'create_queue', {
        queue: this.queue,
        now: this.now,
        ...configOf(settings, this.other),
        ...(settings.dead_letters === 'itself' && { dead_letter_queue: this.queue }),
      })
    } catch (error) {
      if (error instanceof pg.DatabaseError && (error.code === '23514' || error.code === 'PB002')) return false
      throw error
    }
    this.settings = settings
    return true
  }

  #then(actor: number, effect: () => void): void {
    if (this.#open.has(actor)) this.#pending.get(actor)?.push(effect)
    else effect()
  }

  #end(actor: number, isCommitted: boolean): void {
    if (isCommitted) for (const effect of this.#pending.get(actor) ?? []) effect()
    this.#open.delete(actor)
    this.#pending.set(actor, [])
  }

  #mayFail({ verb, actor }: Step, error: pg.DatabaseError): boolean {
    if (verb === 'send' && this.settings.max_messages !== undefined)
      return ['PB003', 'PB004'].includes(error.code ?? '')
    const othersAreOpen = [...this.#open].some((other) => other !== actor)
    return error.code === '55P03' && othersAreOpen && !['send', 'maintain', 'purge', 'redrive'].includes(verb)
  }

  async #try(step: Step): Promise<void> {
    const { actor } = step
    const session = this.#session(actor)
    const verbs = on(session, this.queue)
    const { now } = this
    const alone = !this.#open.has(actor)
    switch (step.verb) {
      case 'send': {
        const messages = step.parcels.map(({ group, ttlSeconds, priority, delaySeconds }) => ({
          body: 0,
          priority: Math.min(priority, this.settings.max_priority),
          ...(delaySeconds > 0 && { delaySeconds }),
          ...(ttlSeconds && { ttlSeconds }),
          ...(group && this.settings.delivery_order === 'fifo' && { group }),
        }))
        this.#hasEnd ||= this.settings.ttl !== undefined || step.parcels.some((parcel) => parcel.ttlSeconds)
        const sent = await verbs.sendBatch(messages, { now, alone })
        this.#then(actor, () => {
          for (const { id } of sent) this.#sent.add(id)
        })
        return
      }
      case 'receive': {
        const { max, leaseSeconds, auto_ack } = step
        const before = await this.#rowsSeenBy(session)
        const got = await verbs.receive(max, { ...(!auto_ack && { lease: `${leaseSeconds} s` }), now, alone, auto_ack })
        assert.ok(got.length <= max)
        assert.equal(new Set(got.map(({ id }) => id)).size, got.length, 'nothing twice')
        for (const { id } of got) {
          const row = before.get(id)
          assert.ok(row, `${id} is there`)
          assert.ok(row.state === 'ready' || row.state === 'blocked', `${id} is ${row.state}`)
        }
        this.#then(actor, () => this.#hasReceived(got, now))
        if (auto_ack)
          this.#then(actor, () => {
            for (const { id } of got) this.#acked.add(id)
          })
        else this.#receipts.push(...receipts(got))
        return
      }
      case 'ack':
      case 'nack':
      case 'untried':
      case 'reject':
      case 'extend': {
        const picked = step.picks.flatMap((pick) => this.#receipts.at(-1 - pick) ?? [])
        const given = [...new Map(picked.map((receipt) => [receipt.split('.')[0], receipt])).values()]
        if (given.length === 0) return
        const span = `${step.seconds} s`
        const before = await this.#rowsSeenBy(session)
        const outcomes =
          step.verb === 'ack'
            ? await verbs.ackWith(given, { now, alone })
            : step.verb === 'extend'
              ? await verbs.extend(given, { lease: span, now })
              : await verbs.nack(given, {
                  now,
                  ...(step.verb === 'reject'
                    ? { dead_letter: true }
                    : { delay: span, untried: step.verb === 'untried' }),
                })
        for (const [index, outcome] of outcomes.entries()) {
          const [id = '', attempt, key] = (given[index] as string).split('.')
          const row = before.get(id)
          const isOwner =
            row !== undefined &&
            row.leased_until !== null &&
            row.attempts === Number(attempt) &&
            row.lease_key === Number(key) &&
            row.queue === this.queue
          assert.equal(
            outcome === 'ok' || outcome === 'lease_expired',
            isOwner,
            `${step.verb} of ${given[index]}: ${outcome}`,
          )
          if (outcome === 'ok' && step.verb === 'ack') this.#then(actor, () => this.#acked.add(id))
        }
        return
      }
      case 'redrive':
        await verbs.redrive({ now })
        if (this.settings.dead_letters === 'other') await on(session, this.other).redrive({ now })
        return
      case 'maintain':
        await verbs.maintain(1000, now)
        return
      case 'purge':
        this.#isPurged ||= (await verbs.purge()) > 0
        return
      case 'configure': {
        const { durability } = this.settings
        this.#noteLosses()
        this.#isChanged ||= await this.configure({ ...step.settings, durability })
        return
      }
      case 'pause':
      case 'resume':
        if (this.#open.size === 0) await verbs[step.verb](now)
        return
      case 'begin':
        if (this.#open.has(actor)) return
        await session.query('begin')
        this.#open.add(actor)
        this.#pending.set(actor, [])
        return
      case 'commit':
      case 'rollback':
        await session.query(step.verb)
        this.#end(actor, step.verb === 'commit')
        return
      default:
        return step satisfies never
    }
  }

  #hasReceived(got: readonly Received[], now = this.now): void {
    for (const { group_key } of got) this.#handedOut.push({ group: group_key, at: now.getTime() / 1000 })
  }

  async #rowsSeenBy(session: pg.Client): Promise<ReadonlyMap<string, Row>> {
    return new Map((await this.#rows(session)).map((row) => [row.id, row]))
  }

  async #rows(session: Pick<pg.Client | pg.Pool, 'query'> = this.#pool): Promise<Row[]> {
    const table = this.settings.durability === 'volatile' ? 'postbag.volatile_message' : 'postbag.message'
    const { rows } = await session.query(
      `select message_id as id, queue.name as queue, group_key, lease_key, attempts, leased_until,
         postbag.state_of(dead_at, group_position, leased_until, available_at, due_at, expires_at, $1) as state
       from ${table} as message join postbag.queue using (queue_id)
       where queue.name = any ($2)`,
      [this.now, [this.queue, this.other]],
    )
    return rows
  }

  async #check(): Promise<void> {
    const rows = await this.#rows()
    const { max_in_flight, max_attempts, group_mode, delivery_order } = this.settings
    const own = rows.filter((row) => row.queue === this.queue)
    const leased = own.filter((row) => row.state === 'leased')
    if (max_in_flight !== undefined && !this.#isChanged)
      assert.ok(leased.length <= max_in_flight, `${leased.length} in flight, at most ${max_in_flight} allowed`)
    if (max_attempts !== undefined && !this.#isChanged)
      for (const row of own) assert.ok(row.attempts <= max_attempts, `${row.attempts} attempts of ${row.id}`)
    if (group_mode === 'ordered' && delivery_order === 'fifo' && !this.#isChanged)
      for (const group of ['a', 'b', 'c']) {
        const keys = new Set(leased.filter((row) => row.group_key === group).map((row) => row.lease_key))
        assert.ok(keys.size <= 1, `group ${group} has ${keys.size} owners`)
      }
    const { rowCount } = await this.#pool.query('select from postbag.group_change')
    assert.equal(rowCount, 0, 'no note of a change is left')
  }

  #checkRates(): void {
    const { rate, burst, group_rate, group_burst } = this.settings
    const check = (name: string, those: readonly HandedOut[], perSecond: number, most: number) => {
      let spent = Number.NEGATIVE_INFINITY
      for (const { at } of those) {
        spent = Math.max(spent, at) + 1 / perSecond
        assert.ok(
          (spent - at) * perSecond <= most + 0.001,
          `${name} has a rate of ${perSecond}: ${JSON.stringify(those)}`,
        )
      }
    }
    const inOrder = [...this.#handedOut].sort((a, b) => a.at - b.at)
    if (rate !== undefined) check('the queue', inOrder, rate, burst ?? Math.max(Math.ceil(rate), 1))
    if (group_rate !== undefined)
      for (const group of ['a', 'b', 'c'])
        check(
          `group ${group}`,
          inOrder.filter((one) => one.group === group),
          group_rate,
          group_burst ?? Math.max(Math.ceil(group_rate), 1),
        )
  }
}

function configOf({ dead_letters, burst, group_burst, ...settings }: Settings, other: string): QueueConfig {
  return {
    ...settings,
    ...(settings.rate && { burst }),
    ...(settings.group_rate && { group_burst }),
    ...(dead_letters === 'other' && { dead_letter_queue: other }),
  } as QueueConfig
}
