/* Installing: once, from many at once, newer databases refused, as a printed script, and uninstalling. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { install, packagedMigrations, printMigrations, uninstall } from '../../src/db/install.ts'
import { createDatabase } from '../support/database.ts'

test('installing again changes nothing', async () => {
  const { pool } = await createDatabase()

  const report = await install(pool)

  assert.deepEqual(report, { installed: [], version: packagedMigrations().length })
})

test('eight installers at once install once', async () => {
  const { pool } = await createDatabase()
  await uninstall(pool)

  const reports = await Promise.all(Array.from({ length: 8 }, () => install(pool)))

  assert.equal(reports.filter((report) => report.installed.length > 0).length, 1)
  const ledger = await pool.query('select number from postbag.migration')
  assert.equal(ledger.rowCount, packagedMigrations().length)
})

test('a database that is newer than the package is refused, and left as it is', async () => {
  const { pool } = await createDatabase()
  await pool.query(`insert into postbag.migration (number, name, hash) values (999, 'future', 'sha1:0')`)

  await assert.rejects(install(pool), { code: 'schema_mismatch', message: /migration 999 \(future\).*newer version/ })
})

test('a database that was migrated with another file is refused', async () => {
  const { pool } = await createDatabase()
  await pool.query(`update postbag.migration set hash = 'sha1:other' where number = 1`)

  await assert.rejects(install(pool), { code: 'schema_mismatch', message: /not the one of this package/ })
})

test('a ledger that has lost rows is refused', async () => {
  const { pool } = await createDatabase()
  await pool.query('delete from postbag.migration where number = 3')
  await assert.rejects(install(pool), { code: 'schema_mismatch', message: /has none of 3:/ })

  await pool.query('delete from postbag.migration')
  await assert.rejects(install(pool), {
    code: 'schema_mismatch',
    message: /has a table "queue", but its table "migration"/,
  })
})

test('a migration that fails leaves nothing behind', async () => {
  const { pool } = await createDatabase()
  await uninstall(pool)
  await pool.query('create schema postbag; create table postbag.message (in_the_way integer)')

  await assert.rejects(install(pool))

  const ledger = await pool.query(`select to_regclass('postbag.migration') as ledger`)
  assert.equal(ledger.rows[0].ledger, null)
})

test('what another role upgrades belongs to the owner of the schema; one that may not act as the owner is told so', async (t) => {
  const { pool, connect, url } = await createDatabase()
  await uninstall(pool)
  const [owner, stranger] = [`owner_${process.pid}`, `stranger_${process.pid}`]
  const session = await connect()
  await session.query(`create role ${owner}; create role ${stranger} login password 'stranger'`)
  const { host, pathname } = new URL(url)
  const strangers = new pg.Pool({ connectionString: `postgres://${stranger}:stranger@${host}${pathname}` })
  t.after(async () => {
    await strangers.end()
    await session.query(`reset role; drop owned by ${owner}, ${stranger}; drop role ${owner}, ${stranger}`)
  })
  await session.query(`grant create on database ${pathname.slice(1)} to ${owner}; set role ${owner}`)
  await session.query(printMigrations().slice(0, -printMigrations(packagedMigrations().length).length))
  await session.query(`grant usage on schema postbag to ${stranger}; grant select on postbag.migration to ${stranger}`)

  await assert.rejects(install(strangers), {
    code: 'request_invalid',
    message: `the schema postbag belongs to the role "${owner}": migrate as that one, or as a member of it`,
  })
  const { installed } = await install(pool)

  assert.equal(installed.length, 1)
  const { rows } = await pool.query(
    `select distinct pg_get_userbyid(proowner) as owner from pg_proc where pronamespace = 'postbag'::regnamespace`,
  )
  assert.deepEqual(rows, [{ owner }])
})

test('whatever a database says of texts and names, the migrations run', async (t) => {
  const { pool, url } = await createDatabase()
  await uninstall(pool)
  const name = new URL(url).pathname.slice(1)
  await pool.query(`alter database ${name} set standard_conforming_strings = off`)
  await pool.query(`alter database ${name} set quote_all_identifiers = on`)
  const later = new pg.Pool({ connectionString: url })
  t.after(() => later.end())

  const { installed } = await install(later)

  assert.equal(installed.length, packagedMigrations().length)
})

test('a database in another encoding than UTF8 is refused', async (t) => {
  const { pool, url } = await createDatabase()
  const name = `latin_${process.pid}`
  await pool.query(`create database ${name} template template0 encoding 'LATIN1' locale 'C'`)
  const latin = new pg.Pool({ connectionString: url.replace(/[^/]*$/, name) })
  t.after(async () => {
    await latin.end()
    await pool.query(`drop database ${name}`)
  })

  await assert.rejects(install(latin), { code: 'request_invalid', message: /must be in UTF8.*, got LATIN1: create/ })
})

test('the printed script installs the same, ledger included', async () => {
  const { pool } = await createDatabase()
  await uninstall(pool)

  await pool.query(printMigrations())

  assert.deepEqual((await install(pool)).installed, [])
  const sent = await pool.query(`select name from postbag.create_queue('printed')`)
  assert.equal(sent.rows[0].name, 'printed')
})

test('uninstalling refuses to take along a table that is not ours', async () => {
  const { pool } = await createDatabase()
  await pool.query('create table postbag.purchase (item text)')

  await assert.rejects(uninstall(pool), { code: 'schema_mismatch', message: /also holds purchase,/ })

  assert.deepEqual((await install(pool)).installed, [])
})

test('uninstalling removes the schema and all in it', async () => {
  const { pool } = await createDatabase()

  await uninstall(pool)

  const left = await pool.query(`select 1 from pg_namespace where nspname = 'postbag'`)
  assert.equal(left.rowCount, 0)
})
