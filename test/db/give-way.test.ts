/* Installing and uninstalling beside traffic: who wants to change tables is never what others wait for, nor what ends them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { givingWay, unhurried } from '../../src/db/give-way.ts'
import { uninstall } from '../../src/db/install.ts'
import { createDatabase } from '../support/database.ts'
import { backendOf, isWaitedFor, newQueue, on } from '../support/sql-verbs.ts'

test('an uninstall that waits for a long query lets those who send pass', async () => {
  const { pool, connect } = await createDatabase()
  const queue = await newQueue(pool)
  const [report, sender] = await Promise.all([connect(), connect()])
  await report.query('begin')
  await report.query('select count(*) from postbag.message')
  const pid = await backendOf(report)

  const removed = uninstall(pool)
  await isWaitedFor(sender, pid)
  await on(sender, queue).send('meanwhile')
  await report.query('commit')
  await removed

  const { rows } = await pool.query(`select to_regnamespace('postbag') as schema`)
  assert.equal(rows[0].schema, null)
})

test('of a change and a transaction that wait for each other, the transaction goes on', async () => {
  const { pool, connect } = await createDatabase()
  const [user, looker] = await Promise.all([connect(), connect()])
  await user.query('begin')
  await user.query('lock table postbag.queue in row share mode')
  const pid = await backendOf(user)
  let tries = 0

  const changed = givingWay(pool, 1n, async (client) => {
    tries++
    await client.query('lock table postbag.message')
    await client.query('lock table postbag.queue')
    return 'changed'
  })
  await isWaitedFor(looker, pid)
  await user.query('lock table postbag.message in row share mode')
  await user.query('commit')

  assert.equal(await changed, 'changed')
  assert.ok(tries > 1)
})

test('what is in the way for too long is named, and nothing is changed', async () => {
  const { pool, connect } = await createDatabase()
  const report = await connect()
  await report.query(`set application_name = 'monthly report'`)
  await report.query('begin')
  await report.query('select count(*) from postbag.message')
  const pid = await backendOf(report)

  const refused = givingWay(
    pool,
    1n,
    async (client) => {
      await client.query('create table public.half_done ()')
      await client.query('drop table postbag.message cascade')
    },
    0,
  )

  await assert.rejects(refused, {
    code: 'database_unavailable',
    message: new RegExp(`in use for 0 s, by process ${pid} \\(monthly report\\) for \\d+ s: nothing was changed`),
  })
  const left = await pool.query(
    `select to_regclass('public.half_done') as made, to_regclass('postbag.message') as kept`,
  )
  assert.deepEqual([left.rows[0].made, left.rows[0].kept !== null], [null, true])
  await report.query('commit')
})

test('a change whose connection is lost fails, and the pool goes on', async () => {
  const { pool, connect } = await createDatabase()
  const other = await connect()

  const lost = givingWay(pool, 1n, async (client) => {
    await client.query('create table public.half_done ()')
    const { rows } = await client.query('select pg_backend_pid() as pid')
    await other.query('select pg_terminate_backend($1, 5000)', [rows[0].pid])
    // (As a change does that has something else to do meanwhile.)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await client.query('select 1')
  })

  await assert.rejects(lost)
  const { rows } = await pool.query(`select to_regclass('public.half_done') as made`)
  assert.equal(rows[0].made, null)
})

test('a connection that is still at work on a change that was given up is not used again', async () => {
  const { url, pool, connect } = await createDatabase()
  const holder = await connect()
  await pool.query('create table public.own ()')
  await holder.query('begin; select pg_advisory_xact_lock(2)')
  const impatient = new pg.Pool({ connectionString: url, max: 1, query_timeout: 200 })

  const given = givingWay(impatient, 1n, (client) => client.query('select pg_advisory_xact_lock(2)'))
  await assert.rejects(given, /Query read timeout/)
  await holder.query('commit')
  await impatient.query({ text: 'insert into public.own default values', ...unhurried })
  await impatient.end()

  assert.equal((await pool.query('select from public.own')).rowCount, 1)
})

test('the time that a pool gives to an answer does not end the wait for another who changes tables', async (t) => {
  const { url, connect } = await createDatabase()
  const [holder, looker] = await Promise.all([connect(), connect()])
  await holder.query('begin; select pg_advisory_xact_lock(1)')
  const pid = await backendOf(holder)
  const impatient = new pg.Pool({ connectionString: url, query_timeout: 60_000 })
  t.mock.timers.enable({ apis: ['setTimeout'] })

  const changed = givingWay(impatient, 1n, async () => 'changed').catch(String)
  const waiting = 'select from pg_stat_activity where $1 = any(pg_blocking_pids(pid))'
  // (Without a pause, as time stands still.)
  while ((await looker.query(waiting, [pid])).rowCount === 0);
  t.mock.timers.tick(600_000)
  await holder.query('commit')

  assert.equal(await changed, 'changed')
  await impatient.end()
})
