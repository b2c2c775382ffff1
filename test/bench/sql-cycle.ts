/* Full cycle in SQL: 8 connections each send n, receive n, ack n, for n = 1, 10, 100. Beside Postbag runs the queue that people
 * write by hand: one table, a visibility column, SKIP LOCKED, delete (the shape of pgmq). Same payload, connections, durability. */
import type pg from 'pg'

export interface Contender {
  readonly name: string
  prepare(pool: pg.Pool): Promise<void>
  /** One round of one client: send, receive and ack a batch; how many messages it acked. */
  round(client: pg.Client, batch: number): Promise<number>
}

/** 200 bytes as JSON. */
const body = { event: 'order.created', filling: 'x'.repeat(163) }

/** A queue of Postbag; with groups, messages go to a random one of so many, and so many wait before measuring starts. */
export function postbagCycle(
  name: string,
  queue: string,
  options: { readonly config?: string; readonly groups?: number; readonly backlog?: number } = {},
): Contender {
  const { config = '', groups, backlog = 0 } = options
  const content = JSON.stringify(body)
  const message = () => ({
    json: content,
    ...(groups !== undefined && { group: `group-${Math.floor(Math.random() * groups)}` }),
  })
  const send = (session: pg.Pool | pg.Client, batch: number) =>
    session.query(`select id from postbag.send_batch($1, $2::jsonb, alone => true)`, [
      queue,
      JSON.stringify(Array.from({ length: batch }, message)),
    ])
  return {
    name,
    async prepare(pool) {
      await pool.query(`select name from postbag.create_queue($1 ${config})`, [queue])
      for (let sent = 0; sent < backlog; sent += 1000) await send(pool, 1000)
    },
    async round(client, batch) {
      await send(client, batch)
      const received = await client.query(`select receipt, body from postbag.receive($1, $2::integer, alone => true)`, [
        queue,
        batch,
      ])
      if (received.rows.length === 0) return 0
      const receipts = JSON.stringify(received.rows.map((row) => row.receipt))
      await client.query(`select outcome from postbag.ack($1, $2::jsonb, alone => true)`, [queue, receipts])
      return received.rows.length
    },
  }
}

export const plainCycle: Contender = {
  name: 'plain SKIP LOCKED table',
  async prepare(pool) {
    await pool.query(`
      create table plain_queue (
        id bigint generated always as identity primary key,
        visible_at timestamptz not null default clock_timestamp(),
        read_count integer not null default 0,
        enqueued_at timestamptz not null default now(),
        message jsonb
      );
      create index on plain_queue (visible_at);
    `)
  },
  async round(client, batch) {
    await client.query(`insert into plain_queue (message) select * from unnest($1::jsonb[]) returning id`, [
      Array.from({ length: batch }, () => JSON.stringify(body)),
    ])
    const received = await client.query(
      `with head as (
        select id from plain_queue where visible_at <= clock_timestamp() order by id limit $1 for update skip locked
      )
      update plain_queue set visible_at = clock_timestamp() + interval '30 s', read_count = read_count + 1
      from head where plain_queue.id = head.id returning plain_queue.id, message`,
      [batch],
    )
    if (received.rows.length === 0) return 0
    await client.query(`delete from plain_queue where id = any($1::bigint[]) returning id`, [
      received.rows.map((row) => row.id),
    ])
    return received.rows.length
  },
}
