/* postbag migrate and uninstall: on a database of one's own, and on the embedded one of a data folder. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { createClient } from '../../src/client/index.ts'
import { packagedMigrations } from '../../src/db/install.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { createPlace, jsonLines, postbag } from './command.ts'

const migrations = packagedMigrations().map(({ number, name }) => ({ number, name }))
const folder = mkdtempSync(join(tmpdir(), 'postbag-migrate-'))

after(() => rmSync(folder, { recursive: true, force: true }))

async function emptyDatabase(): Promise<TestDatabase & { readonly env: { DATABASE_URL: string } }> {
  const database = await createDatabase()
  await database.pool.query('drop schema postbag cascade')
  return { ...database, env: { DATABASE_URL: database.url } }
}

async function tablesOf({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query(`select count(*)::integer as count from pg_tables where schemaname = 'postbag'`)
  return rows[0].count
}

describe('postbag migrate', () => {
  test('brings a database up to date, says what it ran, and that there is nothing to do', async () => {
    const database = await emptyDatabase()

    const first = await postbag(['migrate'], { env: database.env })
    const second = await postbag(['migrate'], { env: database.env })

    assert.equal(first.code, 0, first.stderr)
    assert.match(first.stdout, /^Ran migration 1 \(\w+\)\.\n/)
    assert.match(first.stdout, new RegExp(`is at migration ${migrations.length}\\.\n$`))
    assert.match(second.stdout, /^Nothing to do: .* is at migration \d+ already\.\n$/)
    assert.ok((await tablesOf(database)) > 2)
  })

  test('never shows the password of the database', async () => {
    const { env } = await emptyDatabase()

    const { stdout } = await postbag(['migrate'], { env })

    assert.ok(!stdout.includes(new URL(env.DATABASE_URL).password))
  })

  test('reports as JSON', async () => {
    const { env } = await emptyDatabase()

    const reports = [await postbag(['migrate', '--json'], { env }), await postbag(['migrate', '--json'], { env })]

    assert.deepEqual(
      reports.flatMap(({ stdout }) => jsonLines(stdout)),
      [
        { installed: migrations, version: migrations.length },
        { installed: [], version: migrations.length },
      ],
    )
  })

  test('may run in several processes at once', async () => {
    const database = await emptyDatabase()

    const outcomes = await Promise.all([1, 2, 3].map(() => postbag(['migrate', '--json'], { env: database.env })))

    const installed = outcomes.map(({ stdout }) => JSON.parse(stdout).installed.length)
    assert.deepEqual(installed.sort(), [0, 0, migrations.length])
  })

  test('prints SQL that does the same, and needs no database', async () => {
    const database = await emptyDatabase()

    const printed = await postbag(['migrate', '--print'], { cwd: folder })
    await database.pool.query(printed.stdout)
    const after = await postbag(['migrate'], { env: database.env })

    assert.equal(printed.code, 0)
    assert.match(after.stdout, /^Nothing to do/)
  })

  test('prints only what comes after a migration', async () => {
    const { stdout } = await postbag(['migrate', '--print', '--from', String(migrations.length + 1)])

    assert.equal(stdout, '')
  })

  test('refuses a database that is newer', async () => {
    const { pool, env } = await emptyDatabase()
    await postbag(['migrate'], { env })
    await pool.query(`insert into postbag.migration (number, name, hash) values (999, 'future', 'x')`)

    const { code, stderr } = await postbag(['migrate'], { env })

    assert.equal(code, 1)
    assert.match(stderr, /migration 999 \(future\).*newer version.*\(schema_mismatch\)/)
  })

  test('asks for a database if there is none', async () => {
    const { code, stderr } = await postbag(['migrate'], { cwd: folder })

    assert.equal(code, 1)
    assert.match(stderr, /DATABASE_URL is not set.*\.postbag.*postbag dev/)
  })

  test('says that the embedded database does not run', async () => {
    writeFileSync(join(folder, 'url'), 'postgres://postbag:secret@127.0.0.1:9999/postbag')

    const { code, stderr } = await postbag(['migrate'], { env: { POSTBAG_DATA: folder } })

    assert.equal(code, 69)
    assert.match(stderr, /does not run: "postbag dev" starts it/)
  })

  test('says that a database is away', async () => {
    const { code, stderr } = await postbag(['migrate'], { env: { DATABASE_URL: 'postgres://x@127.0.0.1:9999/x' } })

    assert.equal(code, 69)
    assert.match(stderr, /cannot be reached.*\(database_unavailable\)/)
  })

  test('says in the words of Postgres why the database lets nobody in', async () => {
    const { url } = await emptyDatabase()

    for (const [change, reason] of [
      [{ password: 'wrong' }, /^error: .*password authentication failed for user "\w+" \(database_unavailable\)$/m],
      [{ pathname: '/nowhere' }, /^error: .*database "nowhere" does not exist \(database_unavailable\)$/m],
    ] as const) {
      for (const command of ['migrate', 'doctor']) {
        const { code, stderr } = await postbag([command], {
          env: { DATABASE_URL: Object.assign(new URL(url), change as object).href },
        })

        assert.equal(code, 69)
        assert.match(stderr, reason)
      }
    }
  })

  test('says that the address of the database lacks its password', async () => {
    const { url } = await emptyDatabase()
    const address = Object.assign(new URL(url), { password: '' })

    const { code, stderr } = await postbag(['migrate'], { env: { DATABASE_URL: address.href } })

    assert.equal(code, 1)
    assert.match(
      stderr,
      /^error: the database asks for a password, and its connection string \(DATABASE_URL\) has none$/m,
    )
  })

  for (const args of [
    ['--from', '2'],
    ['--print', '--from', '0'],
    ['--print', '--from', 'x'],
  ]) {
    test(`refuses wrong usage: postbag migrate ${args.join(' ')}`, async () => {
      const { code, stderr } = await postbag(['migrate', ...args])

      assert.equal(code, 2)
      assert.match(stderr, /--from/)
    })
  }
})

describe('postbag uninstall', () => {
  test('removes everything, and says what that was', async () => {
    const { database, url } = await createPlace()
    const queue = createClient({ url }).queue('orders')
    await queue.create()
    await queue.sendBatch([{ body: 1 }, { body: 2 }])

    const { code, stdout } = await postbag(['uninstall', '--yes'], { env: { DATABASE_URL: database.url } })

    assert.equal(code, 0)
    assert.match(stdout, /^Removed Postbag from .*, with 1 queue and 2 messages\.\n$/)
    assert.equal(await tablesOf(database), 0)
  })

  test('asks first, and is refused where nobody can be asked', async () => {
    const { database } = await createPlace()

    const { code, stderr } = await postbag(['uninstall'], { env: { DATABASE_URL: database.url } })

    assert.equal(code, 2)
    assert.match(stderr, /Remove Postbag from .*, with 0 queues and 0 messages\?.*--yes/)
    assert.ok((await tablesOf(database)) > 2)
  })

  test('has nothing to do where there is no Postbag', async () => {
    const { env } = await emptyDatabase()

    const { code, stdout } = await postbag(['uninstall'], { env })

    assert.equal(code, 0)
    assert.match(stdout, /^Nothing to do/)
  })
})
