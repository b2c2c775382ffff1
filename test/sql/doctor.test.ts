/* postbag doctor in the database: each ailment is made, and found; on the oldest and the newest Postgres. (What takes a server of its own:
 * test/cli/doctor.test.ts.) */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type pg from 'pg'
import { type ExamineOptions, examine } from '../../src/cli/doctor/examine.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { connect } from '../../src/db/connect.ts'
import { packagedMigrations } from '../../src/db/install.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { backendOf, call, maintain, newQueue, on, type Session } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'

/** What the doctor finds; of one topic, or of all. */
async function found(url: string, options: ExamineOptions = {}, topic?: string): Promise<Finding[]> {
  const pool = connect(url, { maxConnections: 1 })
  const findings: Finding[] = []
  try {
    for await (const finding of examine(pool, options)) findings.push(finding)
  } finally {
    await pool.end()
  }
  return topic ? findings.filter((finding) => finding.topic === topic) : findings
}

/** The one thing found in a topic, as "level: what → remedy". */
async function only(database: TestDatabase, topic: string, options: ExamineOptions = {}): Promise<string> {
  const findings = await found(database.url, options, topic)
  assert.equal(findings.length, 1, JSON.stringify(findings))
  return findings.map(said).join('\n')
}

/** What is found of the horizon, but for autovacuum, which may have begun to look at the database by chance: where the clock is moved, that
 * counts as hours ago. */
async function holders(database: TestDatabase, seconds: number): Promise<readonly string[]> {
  const findings = await found(database.url, { now: inSeconds(seconds) }, 'horizon')
  return findings.filter(({ level, what }) => level !== 'ok' && !what.includes('(autovacuum worker')).map(said)
}

const said = ({ level, what, remedy }: Finding) => `${level}: ${what}${remedy ? ` → ${remedy}` : ''}`
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000)

/** Make dead letters of all that is ready in a queue. */
async function rejectAll(session: Session, queue: string): Promise<void> {
  await session.query(
    'select from postbag.nack($1, (select jsonb_agg(receipt) from postbag.receive($1, 1000)), dead_letter => true)',
    [queue],
  )
}

let roles = 0

/** The address of the database for a new role without any right. */
async function strangerOf({ pool, url }: TestDatabase): Promise<{ readonly role: string; readonly url: string }> {
  const role = `doctor_${process.pid}_${++roles}`
  await pool.query(`create role ${role} login password 'stranger'`)
  const strangers = new URL(url)
  strangers.username = role
  strangers.password = 'stranger'
  return { role, url: strangers.href }
}

describe('the doctor', () => {
  test('looks at every topic, and finds nothing but what is wrong with this server', async () => {
    const database = await createDatabase()

    const findings = await found(database.url)

    assert.deepEqual(findings.filter(({ level }) => level !== 'ok').map(said), [
      'problem: fsync is off: a crash of the machine can destroy the whole database. → alter system set fsync = on; select pg_reload_conf();',
      'problem: full_page_writes is off: a crash of the machine can tear pages apart. → alter system set full_page_writes = on; select pg_reload_conf();',
      'warning: synchronous_commit is off: a crash loses messages whose send was answered with 2xx. → alter role postgres set synchronous_commit = on; (durability "relaxed" gives the same speed to single queues.)',
    ])
    assert.deepEqual(
      [...new Set(findings.map(({ topic }) => topic))],
      'settings schema horizon tables locks queues volatile numbers connections listen clock'.split(' '),
    )
  })

  test('says what a role without rights cannot see', async () => {
    const database = await createDatabase()
    const stranger = await strangerOf(database)

    const findings = (await found(stranger.url)).map(({ topic, ...finding }) => `${topic} ${said(finding as Finding)}`)

    const hints = findings.filter((finding) => finding.includes(' hint: ')).join('\n')
    assert.match(hints, new RegExp(`^settings hint: The role ${stranger.role} may not see what others do`, 'm'))
    for (const topic of ['schema', 'tables', 'queues']) {
      assert.match(hints, new RegExp(`^${topic} hint: Could not look: permission denied`, 'm'))
    }
  })

  test('says that there is no Postbag, once', async () => {
    const database = await createDatabase()
    await database.pool.query('drop schema postbag cascade')

    const findings = await found(database.url)

    assert.deepEqual(
      findings.filter(({ topic }) => ['schema', 'tables', 'queues', 'locks', 'volatile'].includes(topic)).map(said),
      ['problem: There is no Postbag in this database. → Run "postbag migrate" with the same DATABASE_URL.'],
    )
  })

  test('tells an older schema, a newer one, another one, and a broken index', async () => {
    const database = await createDatabase()
    const { pool } = database
    const last = packagedMigrations().length
    const newest = (await pool.query('delete from postbag.migration where number = $1 returning *', [last])).rows[0]
    const insert = 'insert into postbag.migration (number, name, hash) values ($1, $2, $3)'

    const older = await only(database, 'schema')
    await pool.query(insert, [last, newest.name, newest.hash])
    await pool.query(insert, [last + 1, 'next', 'x'])
    const newer = await only(database, 'schema')
    await pool.query('delete from postbag.migration where number > $1', [last])
    await pool.query(`update postbag.migration set hash = 'other' where number = $1`, [last])
    const other = await only(database, 'schema')
    await pool.query('update postbag.migration set hash = $2 where number = $1', [last, newest.hash])
    await pool.query(`update pg_index set indisvalid = false where indexrelid = 'postbag.message_by_expiry'::regclass`)
    const broken = await only(database, 'schema')

    assert.match(
      older,
      new RegExp(
        `^problem: The database is at migration ${last - 1}; this Postbag needs ${last}\\. → Run "postbag migrate"`,
      ),
    )
    assert.match(
      newer,
      new RegExp(`^problem: The database is at migration ${last + 1}; this Postbag knows only ${last}\\.`),
    )
    assert.match(other, new RegExp(`^problem: Migration ${last} in the database is not the one of this package\\.`))
    assert.match(broken, /^problem: Indexes are not valid.* → reindex index concurrently postbag\.message_by_expiry;$/)
  })
})

describe('settings', () => {
  for (const [setting, value, expected] of [
    [
      'statement_timeout',
      '200',
      /^warning: statement_timeout is 200 ms for this role.* set statement_timeout = '30s';$/m,
    ],
    [
      'default_transaction_isolation',
      `'repeatable read'`,
      /^warning: default_transaction_isolation is repeatable read/m,
    ],
    ['default_transaction_read_only', 'on', /^problem: default_transaction_read_only is on for this role/m],
    ['session_replication_role', 'replica', /^problem: session_replication_role is replica for this role/m],
  ] as const) {
    test(`${setting} = ${value} is found`, async () => {
      const database = await createDatabase()
      const name = new URL(database.url).pathname.slice(1)
      await database.pool.query(`alter database ${name} set ${setting} = ${value}`)

      const findings = await found(database.url, {}, 'settings')

      assert.match(findings.map(said).join('\n'), expected)
    })
  }
})

describe('the horizon', () => {
  test('is held back by an open transaction: who it is, and how to end it', async () => {
    const database = await createDatabase()
    const holder = await database.connect()
    await holder.query(`set application_name = 'report'`)
    await holder.query('begin isolation level repeatable read; select 1')
    const { rows } = await holder.query('select pg_backend_pid() as pid')

    const atOnce = await only(database, 'horizon')
    const later = [await holders(database, 120), await holders(database, 1210), await holders(database, 7230)]

    assert.match(atOnce, /^ok: Nobody holds back the horizon/)
    assert.deepEqual(
      later.map((findings) => findings.map((finding) => finding.split(':')[0])),
      [['hint'], ['warning'], ['problem']],
    )
    assert.match(
      later[1]?.[0] ?? '',
      new RegExp(`held back for 20 min by session ${rows[0].pid} \\(report, role postgres, idle in transaction\\)\\. `),
    )
    assert.match(later[1]?.[0] ?? '', new RegExp(`→ select pg_terminate_backend\\(${rows[0].pid}\\);`))
  })

  test('is held back by a transaction that wrote, without a snapshot', async () => {
    const database = await createDatabase()
    const writer = await database.connect()
    await writer.query('begin; select pg_current_xact_id()')

    const findings = await holders(database, 7230)

    assert.equal(findings.length, 1)
    assert.match(findings[0] ?? '', /^problem: The horizon has been held back for 2 h/)
  })

  test('is not held back by a transaction in another database', async () => {
    const [database, other] = [await createDatabase(), await createDatabase()]
    const holder = await other.connect()
    await holder.query('begin isolation level repeatable read; select 1')

    assert.deepEqual(await holders(database, 7230), [])
  })

  test('that an unseen transaction holds back is told by the number of transactions since', async () => {
    const database = await createDatabase()
    const stranger = await strangerOf(database)
    const holder = await database.connect()
    await holder.query('begin isolation level repeatable read; select 1')
    const { rows } = await holder.query('select pg_backend_pid() as pid')
    await database.pool.query(
      'do $$ begin for i in 1..10000 loop perform pg_current_xact_id(); commit; end loop; end $$',
    )

    const findings = (await found(stranger.url, {}, 'horizon')).map(said).join('\n')

    assert.match(
      findings,
      new RegExp(
        `^hint: The horizon has been held back for 1\\d,\\d{3} transactions by session ${rows[0].pid} .* For how long, this role may not see`,
      ),
    )
  })
})

describe('the tables', () => {
  test('must have autovacuum', async () => {
    const database = await createDatabase()
    await database.pool.query('alter table postbag.message set (autovacuum_enabled = off, vacuum_truncate = off)')
    await database.pool.query('alter table postbag.dedup set (toast.autovacuum_enabled = no)')

    const findings = await found(database.url, {}, 'tables')

    assert.deepEqual(findings.map(said), [
      'problem: Autovacuum is off for postbag.dedup: it grows without end. → alter table postbag.dedup reset (autovacuum_enabled, toast.autovacuum_enabled);',
      'problem: Autovacuum is off for postbag.message: it grows without end. → alter table postbag.message reset (autovacuum_enabled, toast.autovacuum_enabled);',
    ])
  })

  test('must have the settings they were made with, and the remedy brings them back', async () => {
    const database = await createDatabase()
    await database.pool.query('alter table postbag.message reset (autovacuum_vacuum_scale_factor)')
    await database.pool.query('alter table postbag.message set (fillfactor = 100)')

    const [finding] = await found(database.url, {}, 'tables')
    await database.pool.query(finding?.remedy ?? '')

    assert.match(finding?.what ?? '', /: fillfactor is 100, autovacuum_vacuum_scale_factor is the default\.$/)
    assert.match(await only(database, 'tables'), /^ok/)
  })

  test('that have many dead rows are overdue when nobody vacuums them', async () => {
    const database = await createDatabase()
    // So that nobody does by chance, in the middle of this.
    await database.pool.query('alter table postbag.dedup set (autovacuum_enabled = false)')
    const writer = await database.connect()
    await writer.query(
      `insert into postbag.dedup (queue_id, scope, dedup_id, message_id, expires_at) select 1, '', i, i, now() from generate_series(1, 5000) as i`,
    )
    await writer.query('delete from postbag.dedup')
    await writer.query('select pg_stat_force_next_flush()')
    await writer.query('select 1')

    const { rows } = await writer.query('select pg_postmaster_start_time() as started')
    const afterStart = (seconds: number) => new Date(rows[0].started.getTime() + seconds * 1000)
    const at = async (now: Date) => (await found(database.url, { now }, 'tables')).map(said).join('\n')

    const soon = await at(afterStart(60))
    const later = await at(afterStart(3 * 3600))
    await writer.query('vacuum postbag.dedup')
    const healed = await at(inSeconds(3 * 3600))

    assert.doesNotMatch(soon, /5,000 dead rows/)
    assert.match(
      later,
      /^warning: postbag\.dedup has 5,000 dead rows, and autovacuum, due at 2,000, has not been there for 3 h, since the server started\. → vacuum/m,
    )
    assert.doesNotMatch(healed, /dead rows,/)
  })
})

describe('locks', () => {
  test('that somebody waits for are found, with who holds them', async () => {
    const database = await createDatabase()
    const queue = await newQueue(database.pool)
    const { holder, waiter } = await rivals(database)
    await on(holder, queue).send('first', { dedup_id: 'same' })

    const waits = await whatIsSaid(database, holder, waiter, () =>
      on(waiter, queue).send('second', { dedup_id: 'same' }),
    )

    const holds = await backendOf(holder)
    assert.match(
      waits,
      new RegExp(
        `^warning: Session \\d+ \\(waiter\\) has waited for \\d+ s for a lock on postbag\\.dedup, held by ${holds} \\(idle in transaction\\)\\.`,
      ),
    )
    assert.ok(waits.endsWith(`→ Let that one end, or: select pg_terminate_backend(${holds});`))
  })

  test('on a row of Postbag are named by its table, whoever of several waits, and whatever else was touched', async () => {
    const database = await createDatabase()
    const queue = await newQueue(database.pool)
    const { holder, waiter } = await rivals(database)
    const next = await database.connect()
    await on(holder, queue).pause()
    await on(waiter, queue).send('before it waits')

    const first = on(waiter, queue).pause()
    await waits(database, waiter)
    const findings = await whatIsSaid(database, holder, next, () => on(next, queue).pause(), [
      first.then(() => waiter.query('commit')),
    ])

    assert.deepEqual(findings.match(/for a lock on [^,]+, held/g), Array(2).fill('for a lock on postbag.queue, held'))
  })

  test('on a table of Postbag are named by it, also where an index is waited for', async () => {
    const database = await createDatabase()
    const queue = await newQueue(database.pool)
    for (const statement of ['lock table postbag.message', 'reindex index postbag.message_pkey']) {
      const { holder, waiter } = await rivals(database)
      await holder.query(statement)

      const findings = await whatIsSaid(database, holder, waiter, () => on(waiter, queue).peek())

      assert.match(findings, /^warning: .* for a lock on postbag\.message, held by /)
    }
  })

  test('on what is not of Postbag are no affair of it, whatever who waits has sent before', async () => {
    const database = await createDatabase()
    const queue = await newQueue(database.pool)
    await database.pool.query('create table account (id integer primary key, held integer)')
    await database.pool.query('insert into account values (1, 0)')
    for (const statement of [
      'update account set held = held + 1 where id = 1',
      'insert into account values (2, 0)',
      'lock table account',
      'select pg_advisory_xact_lock(1, 2)',
    ]) {
      const { holder, waiter } = await rivals(database)
      for (const session of [holder, waiter]) {
        await on(session, queue).send('an event', { dedup_id: session === holder ? 'one' : 'another' })
      }
      await holder.query(statement)

      const findings = await whatIsSaid(database, holder, waiter, () => waiter.query(statement))

      assert.equal(findings, 'ok: Nobody waits long for a lock of Postbag.', statement)
    }
  })

  test('under which receives take turns are found, and those on groups', async () => {
    const database = await createDatabase()
    const limited = await newQueue(database.pool, { rate: 1 })
    const said: string[] = []
    for (const touch of [
      (session: pg.Client) => on(session, limited).receive(1),
      (session: pg.Client) => session.query(`select postbag.lock_groups('{a}')`),
    ]) {
      const { holder, waiter } = await rivals(database)
      await touch(holder)
      said.push(await whatIsSaid(database, holder, waiter, () => touch(waiter)))
    }

    assert.match(said[0] ?? '', /^warning: .* for a lock on the turn of a queue with a limit, held by /)
    assert.match(said[1] ?? '', /^warning: .* for a lock on groups of messages, held by /)
  })

  /** Two sessions in a transaction each. */
  async function rivals(database: TestDatabase) {
    const [holder, waiter] = [await database.connect(), await database.connect()]
    await waiter.query(`set application_name = 'waiter'`)
    for (const session of [holder, waiter]) await session.query('begin')
    return { holder, waiter }
  }

  /** What the doctor says of the locks while the waiter does this; then the holder gives way. */
  async function whatIsSaid(
    database: TestDatabase,
    holder: pg.Client,
    waiter: pg.Client,
    act: () => Promise<unknown>,
    others: readonly Promise<unknown>[] = [],
  ): Promise<string> {
    const acting = act()
    await waits(database, waiter)
    const findings = await found(database.url, { now: inSeconds(30) }, 'locks')
    await holder.query('rollback')
    await Promise.all([acting, ...others])
    await waiter.query('rollback')
    return findings.map(said).join('\n')
  }

  async function waits({ pool }: TestDatabase, waiter: pg.Client & { readonly processID?: number }): Promise<void> {
    await until('a wait', async () => {
      const { rows } = await pool.query(
        'select from pg_locks where not granted and waitstart is not null and pid = $1',
        [waiter.processID],
      )
      return rows[0]
    })
  }
})

describe('queues', () => {
  test('whose messages wait are found by the oldest ready one, of any priority, durable or volatile', async () => {
    const database = await createDatabase()
    const { pool } = database
    const [busy, plain, hasty, limited] = [
      await newQueue(pool),
      await newQueue(pool, { max_priority: 9 }),
      await newQueue(pool, { durability: 'volatile' }),
      await newQueue(pool, { rate: 1 }),
    ]
    await on(pool, plain).send('waits', { priority: 7 })
    await on(pool, hasty).send('waits')
    await on(pool, limited).send('waits')
    await on(pool, busy).send('is leased')
    await on(pool, busy).receive(1, { lease: '12 h' })
    await on(pool, busy).send('comes later', { delay: '1 day' })
    await on(pool, busy).send('expires', { ttl: '10 s' })

    const soon = await only(database, 'queues')
    const later = await only(database, 'queues', { now: inSeconds(600) })
    const tooLate = await only(database, 'queues', { now: inSeconds(7200) })

    assert.equal(soon, 'ok: Nothing stands still in 4 queues.')
    assert.match(later, /^hint: Messages that are ready are not received, in /)
    for (const name of [`${plain} (10 min)`, `${hasty} (10 min)`, `${limited} (10 min, limited)`]) {
      assert.ok(later.includes(name), later)
    }
    assert.ok(!later.includes(`${busy} `), later)
    assert.match(tooLate, /^warning/)
  })

  test('that are paused with messages in them are found', async () => {
    const database = await createDatabase()
    const { pool } = database
    const [empty, full] = [await newQueue(pool), await newQueue(pool)]
    await on(pool, full).send('waits')
    await pool.query('select from postbag.pause($1)', [empty])
    await pool.query('select from postbag.pause($1)', [full])

    const soon = await only(database, 'queues', { now: inSeconds(7200) })
    const later = await only(database, 'queues', { now: inSeconds(2 * 86_400) })

    assert.equal(soon, `hint: Messages wait in paused queues: ${full} (for 2 h). → "postbag resume <queue>" goes on.`)
    assert.match(later, /^warning: Messages wait in paused queues: \S+ \(for 2 d\)/)
  })

  test('with dead letters are found: by those that stayed, and by those that were moved to them', async () => {
    const database = await createDatabase()
    const { pool } = database
    const graves = await newQueue(pool)
    const [own, moved] = [await newQueue(pool), await newQueue(pool, { dead_letter_queue: graves })]
    const [hasty, hastyGraves] = [`${own}.hasty`, `${graves}.hasty`]
    await call(pool, 'create_queue', { queue: hastyGraves, durability: 'volatile' })
    await call(pool, 'create_queue', { queue: hasty, durability: 'volatile', dead_letter_queue: hastyGraves })
    for (const [queue, count] of [
      [own, 1000],
      [moved, 2],
      [hasty, 1],
    ] as const) {
      await on(pool, queue).sendBatch(Array.from({ length: count }, (_, body) => ({ body })))
      await rejectAll(pool, queue)
    }

    const findings = (await found(database.url, { now: inSeconds(7200) }, 'queues')).map(said)

    assert.equal(findings.length, 2, findings.join('\n'))
    assert.match(
      findings[0] ?? '',
      new RegExp(
        `^warning: There are dead letters in ${own} \\(1,000 or more\\)\\. → "postbag peek <queue> --state dead"`,
      ),
    )
    assert.match(
      findings[1] ?? '',
      new RegExp(
        `^hint: Dead letters of other queues are ready in ${graves} \\(2\\), ${hastyGraves} \\(1\\)\\. → "postbag peek <queue>" tells why; "postbag redrive`,
      ),
    )
  })

  test('to which dead letters were moved need no remedy while these are leased, or when they were redriven', async () => {
    const database = await createDatabase()
    const { pool } = database
    const graves = await newQueue(pool)
    const queue = await newQueue(pool, { dead_letter_queue: graves })
    await on(pool, queue).send('fails')
    await rejectAll(pool, queue)
    const found = await only(database, 'queues')
    const [letter] = await on(pool, graves).receive(1)

    const leased = await only(database, 'queues')
    await on(pool, graves).nack([letter?.receipt])
    await on(pool, graves).redrive()
    const redriven = await only(database, 'queues')

    assert.match(found, /^hint: Dead letters of other queues are ready in /)
    assert.deepEqual([leased, redriven], Array(2).fill('ok: Nothing stands still in 2 queues.'))
  })

  for (const [by, ways] of [
    ['an exchange', (to: string) => ({ dead_letter_exchange: 'default', dead_letter_routing_key: to })],
    ['the dead-letter queue', (to: string) => ({ dead_letter_queue: to })],
  ] as const) {
    test(`between which messages go to and fro for a delay, by ${by}, have no dead letters`, async () => {
      const database = await createDatabase()
      const { pool } = database
      await call(pool, 'create_queue', { queue: 'work' })
      await call(pool, 'create_queue', { queue: 'work.later', ttl: '1 h', ...ways('work') })
      await call(pool, 'create_queue', { queue: 'work', ...ways('work.later') })
      await on(pool, 'work').send('hard')

      const soon: string[] = []
      for (const seconds of [60, 3700]) {
        const [hard] = await on(pool, 'work').receive(1, { now: inSeconds(seconds) })
        await on(pool, 'work').nack([hard?.receipt], { dead_letter: true, now: inSeconds(seconds) })
        soon.push(await only(database, 'queues', { now: inSeconds(seconds + 1800) }))
        await maintain(pool, { now: inSeconds(seconds + 3601) })
        soon.push(await only(database, 'queues', { now: inSeconds(seconds + 3610) }))
      }
      const forgotten = await only(database, 'queues', { now: inSeconds(3700 + 3601 + 600) })

      assert.deepEqual(soon, Array(4).fill('ok: Nothing stands still in 2 queues.'))
      assert.match(forgotten, /^hint: Messages that are ready are not received, in work \(10 min\)\./)
    })
  }

  test('to which an exchange led what had waited for its time have no dead letters, but messages', async () => {
    const database = await createDatabase()
    const { pool } = database
    const work = await newQueue(pool)
    const waiting = { ttl: '1 min', dead_letter_exchange: 'default', dead_letter_routing_key: work }
    await on(pool, await newQueue(pool, waiting)).send('later')
    await maintain(pool, { now: inSeconds(61) })

    const soon = await only(database, 'queues', { now: inSeconds(70) })
    const forgotten = await only(database, 'queues', { now: inSeconds(61 + 600) })

    assert.equal(soon, 'ok: Nothing stands still in 2 queues.')
    assert.match(forgotten, /^hint: Messages that are ready are not received, in /)
  })

  test('to which an exchange led dead letters have them, too', async () => {
    const database = await createDatabase()
    const { pool } = database
    const graves = await newQueue(pool)
    const queue = await newQueue(pool, { dead_letter_exchange: 'default', dead_letter_routing_key: graves })
    await on(pool, queue).send('fails')
    await rejectAll(pool, queue)

    assert.match(
      await only(database, 'queues'),
      new RegExp(`^hint: Dead letters of other queues are ready in ${graves} \\(1\\)`),
    )
  })

  test('are named up to five times', async () => {
    const database = await createDatabase()
    await database.pool.query(`select from generate_series(1, 7) as i, postbag.create_queue('q' || i) as made`)
    await database.pool.query(`select postbag.send('q' || i, '1') from generate_series(1, 7) as i`)

    assert.match(
      await only(database, 'queues', { now: inSeconds(600) }),
      /, in (q\d \(10 min\)(, | and )){5}2 more\. →/,
    )
  })
})

test('a sequence that nears its end is found', async () => {
  const database = await createDatabase()
  await database.pool.query(`select setval('postbag.message_id', 9000000000000000000)`)

  assert.match(
    await only(database, 'numbers'),
    /^problem: The sequence postbag\.message_id has used half of its numbers/,
  )
})

describe('connections', () => {
  test('of a database or a role that may have few are found', async () => {
    const database = await createDatabase()
    const name = new URL(database.url).pathname.slice(1)
    await database.pool.query(`alter database ${name} connection limit 5`)

    const few = await only(database, 'connections', { maxConnections: 10 })
    await Promise.all([1, 2].map(() => database.connect()))
    const fewer = await only(database, 'connections', { maxConnections: 2 })

    assert.match(
      few,
      /^hint: 2 of the 5 connections of this database are in use, and one more server process may want 10\./,
    )
    assert.match(fewer, /^warning: 4 of the 5 connections of this database are in use\. → Close those that idle/)
  })

  test('of a role that may have few are found, but a superuser may have more', async () => {
    const database = await createDatabase()
    const stranger = await strangerOf(database)
    await database.pool.query(`alter role ${stranger.role} connection limit 2`)

    const few = (await found(stranger.url, { maxConnections: 1 }, 'connections')).map(said)
    await database.pool.query(`alter role ${stranger.role} set role pg_monitor; grant pg_monitor to ${stranger.role}`)
    const inAnotherRole = (await found(stranger.url, { maxConnections: 3 }, 'connections')).map(said)
    await database.pool.query(`alter role ${stranger.role} superuser connection limit 0`)
    const superuser = (await found(stranger.url, { maxConnections: 3 }, 'connections')).map(said)

    assert.match(few.join(), /^ok/)
    assert.match(inAnotherRole.join(), /^hint: 1 of the 2 connections of this role are in use, and one more/)
    assert.match(superuser.join(), /^ok/)
  })

  test('of Postbag that are all busy are found, with what they wait for', async () => {
    const database = await createDatabase()
    const own = await database.connect()
    await own.query(`set application_name = 'postbag'`)
    const waiting = own.query('select pg_sleep(600)')
    waiting.catch(() => {})
    await until('a busy session', async () => {
      const { rows } = await database.pool.query(
        `select pid from pg_stat_activity where application_name = 'postbag' and wait_event = 'PgSleep' and datname = current_database()`,
      )
      return rows[0]
    })

    const busy = await only(database, 'connections', { maxConnections: 1 })

    assert.match(busy, /^warning: All 1 connections of Postbag are busy, most of them waiting \(Timeout: PgSleep\)/)
  })
})

describe('the clock', () => {
  test('of this machine is compared with the database', async () => {
    const database = await createDatabase()

    const behind = await only(database, 'clock', { machineTime: () => Date.now() - 125_000 })
    const ahead = await only(database, 'clock', { machineTime: () => Date.now() + 20_000 })

    assert.match(behind, /^warning: The database's clock is 2 min ahead of this machine's\. → Set both by NTP/)
    assert.match(ahead, /^hint: The database's clock is 20 s behind this machine's\./)
  })
})
