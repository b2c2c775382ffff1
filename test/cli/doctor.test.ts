/* postbag doctor as a command, on a Postgres of its own: a healthy one is well; and what takes a server's settings, or a crash, is found.
 * (Ailments of a single database: test/sql/doctor.test.ts.) */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import pg from 'pg'
import { judgeClock } from '../../src/cli/doctor/clock.ts'
import { judgeConnections } from '../../src/cli/doctor/connections.ts'
import { examine } from '../../src/cli/doctor/examine.ts'
import { about, type Finding, size } from '../../src/cli/doctor/finding.ts'
import { judgeSlot } from '../../src/cli/doctor/horizon.ts'
import { judgeNumbers } from '../../src/cli/doctor/numbers.ts'
import { judgeSettings } from '../../src/cli/doctor/settings.ts'
import { judgeDeadRows, judgeSize } from '../../src/cli/doctor/tables.ts'
import { connect } from '../../src/db/connect.ts'
import { startEmbedded } from '../../src/db/embedded.ts'
import { install } from '../../src/db/install.ts'
import { type ScratchServer, scratchFolder, startScratch } from '../support/server.ts'
import { createPlace, jsonLines, postbag } from './command.ts'

let server: ScratchServer
let databases = 0

before(async () => {
  server = await startScratch(18, { max_prepared_transactions: '5', wal_level: 'logical' })
})
after(() => server.remove())

/** A database with Postbag in it, and nothing else. */
async function healthyDatabase(on: { readonly url: string } = server): Promise<string> {
  const name = `healthy_${++databases}`
  await query(on.url, `create database ${name}`)
  const url = on.url.replace(/[^/]*$/, name)
  const pool = connect(url, { maxConnections: 1 })
  await install(pool)
  await pool.end()
  return url
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

async function found(
  url: string,
  topic: string,
  options: { readonly now?: Date; readonly directUrl?: string; readonly notifyMillis?: number } = {},
): Promise<string[]> {
  const pool = connect(url, { maxConnections: 1 })
  const findings: Finding[] = []
  try {
    for await (const finding of examine(pool, options)) findings.push(finding)
  } finally {
    await pool.end()
  }
  return (
    findings
      .filter((finding) => finding.topic === topic)
      // (It may have begun to look at the database by chance: where the clock is moved, that counts as hours ago.)
      .filter(({ what }) => !what.includes('(autovacuum worker'))
      .map(({ level, what, remedy }) => `${level}: ${what}${remedy ? ` → ${remedy}` : ''}`)
  )
}

const tomorrow = () => new Date(Date.now() + 20 * 3_600_000)

describe('postbag doctor', () => {
  test('finds nothing in a healthy database, and ends with 0', async () => {
    const env = { DATABASE_URL: await healthyDatabase() }

    const people = await postbag(['doctor'], { env })
    const machines = await postbag(['doctor', '--json'], { env })

    assert.deepEqual([people.code, people.stderr], [0, ''], people.stdout)
    assert.match(people.stdout, /^(ok {7}\w+ +\S.*\n){11}$/)
    const findings = jsonLines(machines.stdout)
    assert.deepEqual([machines.code, findings.length], [0, 11])
    assert.deepEqual(
      findings.filter(({ level }) => level !== 'ok'),
      [],
    )
    assert.deepEqual(Object.keys(findings[0] ?? {}), ['topic', 'level', 'what'])
  })

  test('ends with 0 after hints, and with 1 after worse; a remedy stands on its own line', async () => {
    const url = await healthyDatabase()
    const env = { DATABASE_URL: url }
    await query(
      url,
      `select postbag.create_queue('idle'); select postbag.send('idle', '1'); select postbag.pause('idle')`,
    )

    const hinted = await postbag(['doctor'], { env })
    await query(url, 'alter table postbag.message set (autovacuum_enabled = false, fillfactor = 100)')
    const bad = await postbag(['doctor'], { env })

    assert.deepEqual([hinted.code, hinted.stderr], [0, ''])
    assert.match(hinted.stdout, /^hint {5}queues {7}Messages wait in .*\n {22}→ "postbag resume <queue>" goes on\.$/m)
    assert.deepEqual([bad.code, bad.stderr], [1, 'error: 1 problem, 1 warning\n'])
  })

  test('keeps each finding on its line, and tells a terminal nothing, whatever names say', async () => {
    const url = new URL(await healthyDatabase())
    const role = 'app\nok       schema       fine\u001b[2J\u2028'
    await query(url.href, `create role ${pg.escapeIdentifier(role)} login password 'stranger'`)
    url.username = encodeURIComponent(role)
    url.password = 'stranger'
    const env = { DATABASE_URL: url.href }

    const people = await postbag(['doctor'], { env })
    const machines = await postbag(['doctor', '--json'], { env })

    const shown = String.raw`"app ok       schema       fine \[2J "`
    assert.match(people.stdout, new RegExp(`^hint     settings     The role ${shown} may not see what others do`, 'm'))
    assert.match(
      people.stdout,
      new RegExp(
        `^ {22}→ grant pg_monitor to ${shown}; .* \\(Some characters are not shown: "--json" has them\\.\\)$`,
        'm',
      ),
    )
    assert.doesNotMatch(people.stdout.replaceAll('\n', ''), /\p{Cc}|\p{Zl}/u)
    assert.doesNotMatch(people.stdout, /^ok {7}schema/m)
    const remedies = jsonLines(machines.stdout).map(({ remedy }) => String(remedy))
    assert.ok(remedies.some((remedy) => remedy.startsWith(`grant pg_monitor to ${pg.escapeIdentifier(role)};`)))
  })

  test('looks at a server from outside, and says what it needs for more', async () => {
    const { env, url, database } = await createPlace()

    const outside = await postbag(['doctor', '--json'], { env })
    const both = await postbag(['doctor', '--json', '--url', `${url}/`], { env: { DATABASE_URL: database.url } })

    const [answers, reaches, more, ...rest] = jsonLines(outside.stdout)
    assert.deepEqual([outside.code, answers?.topic, answers?.level], [0, 'server', 'ok'])
    assert.match(String(reaches?.what), /^Its database answers within \d+ ms, and is at migration \d+\.$/)
    assert.deepEqual([more?.level, more?.remedy, rest], ['hint', 'DATABASE_URL=postgres://… postbag doctor', []])
    assert.deepEqual([...new Set(jsonLines(both.stdout).map(({ topic }) => topic))].slice(0, 3), [
      'server',
      'settings',
      'schema',
    ])
  })

  test('says when a server is not there, or its database is not', async () => {
    const { env, database } = await createPlace()
    await database.drop()

    const away = await postbag(['doctor'], { env: { POSTBAG_URL: 'http://127.0.0.1:9999' } })
    const broken = await postbag(['doctor'], { env })
    const oneOfTwo = await postbag(['doctor'], {
      env: { POSTBAG_URL: 'http://127.0.0.1:9999', DATABASE_URL: await healthyDatabase() },
    })
    const none = await postbag(['doctor'], { env: { DATABASE_URL: 'postgres://127.0.0.1:9/none' } })

    assert.deepEqual([away.code, broken.code, none.code], [69, 1, 69])
    assert.match(
      away.stderr,
      /^error: http:\/\/127\.0\.0\.1:9999\/healthz does not answer as it should: .* \(network_error\)/,
    )
    assert.match(broken.stdout, /^problem {2}server {7}It does not reach its database: /m)
    assert.match(oneOfTwo.stdout, /^problem {2}server {7}http:.*\n.*\n(ok .*\n){11}$/)
    assert.match(none.stderr, /\(database_unavailable\)/)
  })
})

describe('the horizon', () => {
  test('is held back by a prepared transaction, which the remedy ends', async () => {
    const url = await healthyDatabase()
    await query(url, `begin; select pg_current_xact_id(); prepare transaction 'it''s forgotten'`)

    const soon = await found(url, 'horizon')
    const later = await found(url, 'horizon', { now: tomorrow() })
    await query(url, later[0]?.match(/rollback prepared .*;/)?.[0] ?? '')
    const healed = await found(url, 'horizon', { now: tomorrow() })

    assert.match(soon.join(), /^ok/)
    assert.deepEqual(later, [
      `problem: The horizon has been held back for 20 h by the prepared transaction 'it''s forgotten' of postgres. → ` +
        `commit prepared 'it''s forgotten'; or, if nobody wants it any more: rollback prepared 'it''s forgotten';`,
    ])
    assert.doesNotMatch(healed.join(), /prepared/)
  })

  test('of the catalogs is held back by a replication slot that nobody reads, which the remedy drops', async () => {
    const url = await healthyDatabase()
    await query(url, `select pg_create_logical_replication_slot('forgotten', 'pgoutput')`)

    const atOnce = await found(url, 'horizon')
    await query(url, 'do $$ begin for i in 1..10000 loop perform pg_current_xact_id(); commit; end loop; end $$')
    const later = await found(url, 'horizon')
    await query(url, later[0]?.match(/select pg_drop.*;/)?.[0] ?? '')
    const healed = await found(url, 'horizon')

    assert.match(atOnce.join(), /^hint: Nobody reads the replication slot forgotten, /)
    assert.match(
      later.join(),
      /^warning: Nobody reads the replication slot forgotten, which has held back the horizon of the catalogs for 10,\d{3} transactions and keeps \d.* of write-ahead log\. →/,
    )
    assert.match(healed.join(), /^ok/)
  })
})

for (const major of [15, 18] as const) {
  test(`a replication slot that is lost is found on Postgres ${major}, whatever it seems to hold back`, async (t) => {
    const settings = { wal_level: 'logical', max_slot_wal_keep_size: '1MB', fsync: 'off' }
    const small = await startScratch(major, settings)
    t.after(() => small.remove())
    const url = await healthyDatabase(small)
    await query(url, `select pg_create_logical_replication_slot('it_is_lost', 'pgoutput')`)
    for (let segment = 0; segment < 3; segment++) {
      await query(url, 'select pg_switch_wal() from pg_current_xact_id()')
    }
    await query(url, 'checkpoint')

    const lost = await found(url, 'horizon')
    await query(url, lost[0]?.match(/select pg_drop.*?;/)?.[0] ?? '')
    const healed = await found(url, 'horizon')

    assert.deepEqual(lost, [
      'warning: The replication slot it_is_lost is lost (wal_removed): its reader can never go on, and what it had not read is missing there. → ' +
        `select pg_drop_replication_slot('it_is_lost'); and set its reader up anew. So that it stays: raise max_slot_wal_keep_size.`,
    ])
    assert.match(healed.join(), /^ok/)
  })
}

describe('LISTEN', () => {
  test('behind a pooler that loses notifications does not work, until there is a direct address', async (t) => {
    const url = await healthyDatabase()
    const pooled = await deafProxy(t, url)

    const without = await found(pooled, 'listen', { notifyMillis: 200 })
    const direct = await found(pooled, 'listen', { directUrl: url })

    assert.match(
      without.join(),
      /^warning: LISTEN does not work on DATABASE_URL: .* → Set DATABASE_DIRECT_URL: a connection/,
    )
    assert.deepEqual(direct, ['ok: LISTEN works on DATABASE_DIRECT_URL: a notification arrived.'])
  })

  test('on another database, or on one that is not there, is found', async () => {
    const [url, other] = [await healthyDatabase(), await healthyDatabase()]

    const wrong = await found(url, 'listen', { directUrl: other, notifyMillis: 200 })
    const away = await found(url, 'listen', { directUrl: 'postgres://127.0.0.1:9/none' })
    const wild = await found(url, 'listen', { directUrl: 'postgres://[' })

    assert.match(wrong.join(), /^problem: DATABASE_DIRECT_URL leads to another database than DATABASE_URL\./)
    assert.match(away.join(), /^problem: DATABASE_DIRECT_URL cannot be reached: .*ECONNREFUSED/)
    assert.match(wild.join(), /^problem: DATABASE_DIRECT_URL cannot be reached: Invalid URL\./)
  })

  test('on the same database is recognised, though its sessions keep another time', async () => {
    const url = await healthyDatabase()
    const directUrl = `${url}?options=${encodeURIComponent('-c timezone=Asia/Tokyo')}`

    assert.match((await found(url, 'listen', { directUrl })).join(), /^ok: LISTEN works on DATABASE_DIRECT_URL/)
  })

  /** Passes everything on but notifications, as a listener behind a transaction pooler sees it. */
  async function deafProxy(t: TestContext, url: string): Promise<string> {
    const { port, hostname } = new URL(url)
    const sockets = new Set<Socket>()
    const proxy = createServer({ noDelay: true }, (client) => {
      const upstream = dial({ port: Number(port), host: hostname, noDelay: true })
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => {}).once('close', () => other.destroy())
      }
      client.pipe(upstream)
      let rest: Buffer = Buffer.alloc(0)
      upstream.on('data', (chunk) => {
        // Each message of the server is a letter, and its length without it.
        rest = Buffer.concat([rest, chunk])
        while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
          const end = rest.readInt32BE(1) + 1
          if (rest[0] !== 'A'.charCodeAt(0)) client.write(rest.subarray(0, end))
          rest = rest.subarray(end)
        }
      })
    })
    await new Promise<void>((listening) => proxy.listen(0, '127.0.0.1', listening))
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    })
    const proxied = new URL(url)
    proxied.port = String((proxy.address() as AddressInfo).port)
    return proxied.href
  }
})

test('a crash that emptied volatile queues is found, for a day', async (t) => {
  const options = { dataDir: await scratchFolder(), settings: { fsync: 'off' } }
  const first = await startEmbedded(options)
  const url = await healthyDatabase(first)
  await query(url, `select postbag.create_queue('hasty', durability => 'volatile'); select postbag.send('hasty', '1')`)
  const before = await found(url, 'volatile')

  // (An end at once: what comes next is what comes after a crash.)
  process.kill(first.pid, 'SIGQUIT')
  await first.ended
  const second = await startEmbedded(options)
  t.after(async () => {
    await second.stop()
    await rm(options.dataDir, { recursive: true, force: true })
  })

  assert.deepEqual(before, ['ok: 1 volatile queue; no crash is known to have emptied them lately.'])
  assert.deepEqual(await query(url, 'select from postbag.volatile_message'), [])
  assert.match(
    (await found(url, 'volatile')).join(),
    /^hint: The statistics began anew .* empties volatile queues: hasty\./,
  )
  assert.match((await found(url, 'volatile', { now: new Date(Date.now() + 2 * 86_400_000) })).join(), /^ok/)
})

describe('what cannot be made here is judged by its figures', () => {
  const healthy = {
    version: 180_004,
    version_name: '18.4',
    standby: false,
    role: 'app',
    sees_all: true,
    settings: { default_transaction_isolation: 'read committed' },
  }
  const said = (remarks: readonly { readonly level: string; readonly what: string }[]) =>
    remarks.map(({ level, what }) => `${level}: ${what}`).join('\n')

  test('Postgres: too old, too new, a standby', () => {
    assert.match(said(judgeSettings(healthy)), /^ok/)
    assert.match(
      said(judgeSettings({ ...healthy, version: 140_010, version_name: '14.10' })),
      /^problem: Postgres 14\.10 is too old/,
    )
    assert.match(
      said(judgeSettings({ ...healthy, version: 190_001, version_name: '19.1' })),
      /^hint: Postgres 19\.1 is newer/,
    )
    assert.match(said(judgeSettings({ ...healthy, standby: true })), /^problem: This is a standby/)
  })

  test('autovacuum that is off for the whole server, or does not see what it is to do', () => {
    for (const name of ['autovacuum', 'track_counts']) {
      const off = { ...healthy, settings: { ...healthy.settings, [name]: 'off' } }

      assert.match(said(judgeSettings(off)), new RegExp(`^problem: ${name} is off: `))
    }
  })

  test('transaction ids that run out', () => {
    const ages = (xid_age: number, multixact_age: number) =>
      said(judgeNumbers({ xid_age, multixact_age, sequences: [] }))

    assert.match(ages(200_000_000, 5), /^ok/)
    assert.match(ages(1_100_000_000, 5), /^warning: 1,100,000,000 transaction ids are in use/)
    assert.match(ages(5, 1_700_000_000), /^problem: 1,700,000,000 multixact ids/)
  })

  test('replication slots that are lost for other reasons', () => {
    const slot = {
      kind: 'slot',
      slot: 's',
      active: false,
      transactions: 1,
      catalog_transactions: 1,
      kept_bytes: 2 ** 40,
    } as const
    const remedyOf = (lost: string) => judgeSlot({ ...slot, lost }).map(({ level, remedy }) => `${level}: ${remedy}`)
    const anew = `warning: select pg_drop_replication_slot('s'); and set its reader up anew.`

    assert.deepEqual(remedyOf('idle_timeout'), [`${anew} So that it stays: raise idle_replication_slot_timeout.`])
    assert.deepEqual(remedyOf('rows_removed'), [`${anew} So that it stays: set hot_standby_feedback = on here.`])
    assert.deepEqual(remedyOf('wal_level_insufficient'), [
      `${anew} So that it stays: set wal_level = logical on the primary server.`,
    ])
    assert.deepEqual(remedyOf('conflict'), [anew])
    assert.match(said(judgeSlot({ ...slot, lost: null })), /^problem: Nobody reads the replication slot s/)
  })

  test('a server without a connection left', () => {
    const none = {
      role_limit: -1,
      role_used: 0,
      database_limit: -1,
      database_used: 0,
      own: 10,
      own_busy: 3,
      own_waits: null,
    }

    assert.match(
      said(judgeConnections({ ...none, most: 97, used: 95 }, 10)),
      /^problem: 95 of the 97 connections of this server/,
    )
    assert.match(said(judgeConnections({ ...none, most: 97, used: 50 }, 10)), /^ok/)
  })

  test('tables that are much larger than what is in them, or keep their dead rows', () => {
    const vacuumed = {
      name: 'message',
      options: {},
      toast_off: false,
      live: 1000,
      dead: 0,
      threshold: 2010,
      seconds_unvacuumed: 60,
      ever_vacuumed: true,
      being_vacuumed: false,
      heap_bytes: 2 ** 30,
      index_bytes: 2 ** 29,
    }
    const full = { ...vacuumed, live: 1_000_000 }
    const held = { ...full, dead: 5_000_000 }

    assert.match(
      said(judgeSize(vacuumed)),
      /^hint: postbag\.message takes 1\.0 GiB for 1,000 rows.*\nhint: The indexes .* 512 MiB/,
    )
    assert.match(
      said(judgeDeadRows(held)),
      /^hint: postbag\.message has 5,000,000 dead rows, though it was vacuumed 60 s ago\.$/,
    )
    assert.deepEqual(
      [...judgeSize(full), ...judgeDeadRows(full), ...judgeDeadRows({ ...held, being_vacuumed: true })],
      [],
    )
  })

  test('a database that is far away, behind which clocks are known less exactly', () => {
    assert.match(said(judgeClock(60, 0)), /^hint: A round trip to the database takes 60 ms; each operation is one\.$/)
    assert.match(said(judgeClock(300, 0)), /^warning: A round trip to the database takes 300 ms/)
    assert.match(said(judgeClock(4000, 2900)), /^warning: A round trip[^\n]*$/)
    assert.match(said(judgeClock(4, -2900)), /^hint: The database's clock is 3 s behind this machine's\.$/)
  })

  test('times and sizes, as people say them', () => {
    assert.deepEqual([0.4, 90, 150, 5400, 90_000, 400_000].map(about), [
      '0 s',
      '90 s',
      '3 min',
      '90 min',
      '25 h',
      '5 d',
    ])
    assert.deepEqual([0, 1023, 1536, 3 * 2 ** 30].map(size), ['0 bytes', '1023 bytes', '1.5 KiB', '3.0 GiB'])
  })
})
