/* A bare NOTIFY, as the physical limit of waking somebody. */
import type pg from 'pg'
import { body } from './sql.ts'

/** Listen; each call of what comes back waits for the next notification. */
export async function listen(listener: pg.Client): Promise<() => Promise<void>> {
  let heard = () => {}
  listener.on('notification', () => heard())
  await listener.query('listen bench')
  return () =>
    new Promise((resolve) => {
      heard = resolve
    })
}

export function notify(client: pg.Client): Promise<unknown> {
  return client.query({ name: 'notify', text: `select pg_notify('bench', '')` })
}

export async function createBareTable(pool: pg.Pool): Promise<void> {
  await pool.query('create table bare (id bigint generated always as identity primary key, body text)')
}

/** A commit (an insert), and then a NOTIFY: how long until it is heard, in milliseconds. */
export async function commitAndNotify(client: pg.Client, heard: () => Promise<void>): Promise<number> {
  const next = heard()
  const begin = performance.now()
  await client.query({ name: 'insert', text: 'insert into bare (body) values ($1)', values: [body] })
  await notify(client)
  await next
  return performance.now() - begin
}
