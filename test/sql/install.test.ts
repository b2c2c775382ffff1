/* Installing: once, from many at once, newer databases refused, as a printed script, and uninstalling. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
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

test('a migration that fails leaves nothing behind', async () => {
  const { pool } = await createDatabase()
  await uninstall(pool)
  await pool.query('create schema postbag; create table postbag.message (in_the_way integer)')

  await assert.rejects(install(pool))

  const ledger = await pool.query(`select to_regclass('postbag.migration') as ledger`)
  assert.equal(ledger.rows[0].ledger, null)
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
