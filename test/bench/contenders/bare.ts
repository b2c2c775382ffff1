/* What a queue with a row per message costs at the very least: the three statements and nothing else. They are prepared, a claim begins where
 * the session's last one ended, its update touches no index, and neither claims nor acks wait for the disk. There are no queues, delays,
 * priorities or receipts, and two sessions may look past each other's late commits. No contender that anybody could use: it tells how much of a
 * ratio this machine leaves room for. */
import type pg from 'pg'
import { body, connectAll, prepared, type SqlContender } from './sql.ts'

const send = prepared('bare_send', 'insert into bare_queue (message) select * from unnest($1::text[]) returning id')
const doesNotWait = `off as materialized (select set_config('synchronous_commit', 'off', true))`
const headAfter = (first = 'true') => `head as materialized (
    select ctid from bare_queue where id > $1 and leased_until is null and ${first} order by id limit $2 for update skip locked
  )`
const lease = `update bare_queue set leased_until = now() + interval '30 s', attempts = attempts + 1
  from off, head where bare_queue.ctid = head.ctid returning id, message`
const claim = prepared('bare_claim', `with ${doesNotWait}, ${headAfter()} ${lease}`)
const ack = prepared(
  'bare_ack',
  `with ${doesNotWait} delete from bare_queue using off where id = any($1::bigint[]) returning id`,
)
const ackAndClaim = prepared(
  'bare_ack_and_claim',
  `with ${doesNotWait}, acked as (delete from bare_queue where id = any($3::bigint[]) returning id),
  ${headAfter('(select count(*) from acked) >= 0')} ${lease}`,
)

export async function createBareTable(pool: pg.Pool): Promise<void> {
  await pool.query(`
    create table bare_queue (
      id bigint generated always as identity primary key,
      leased_until timestamptz,
      attempts integer not null default 0,
      message text not null
    ) with (fillfactor = 50)
  `)
}

/** Send a batch, claim one, delete it: three statements. */
export const bareCycle: SqlContender = {
  name: 'bare statements',
  open(client, batch) {
    const messages = batchOf(batch)
    const drain = drainBare(client, batch)
    return {
      async round() {
        await send(client, [messages])
        const count = await drain.claim()
        await drain.ack()
        return count
      },
    }
  },
}

/** The same in two: what a round claimed is deleted with the next round's claim. */
export const bareRidingCycle: SqlContender = {
  name: 'bare statements, acks ride',
  open(client, batch) {
    const messages = batchOf(batch)
    const drain = drainBare(client, batch)
    return {
      async round() {
        await send(client, [messages])
        return drain.ackAndClaim()
      },
      finish: () => drain.ack(),
    }
  },
}

export const bareSend: SqlContender = {
  name: 'bare statements',
  open(client, batch) {
    const messages = batchOf(batch)
    return {
      async round() {
        await send(client, [messages])
        return batch
      },
    }
  },
}

/** Whether messages are left. */
export const bareLeft = 'select exists (select from bare_queue) as "isLeft"'

export interface BareOptions {
  readonly batch: number
  readonly connections: number
}

/** Claim, and delete with the next claim, on each of the connections until stopped. */
export async function consumeBare(databaseUrl: string, { batch, connections }: BareOptions, handled: () => void) {
  let isStopping = false
  const clients = await connectAll(databaseUrl, connections)
  const ended = Promise.all(
    clients.map(async (client) => {
      const drain = drainBare(client, batch)
      while (!isStopping) {
        const count = await drain.ackAndClaim()
        for (let n = 0; n < count; n++) handled()
        if (count < batch) await drain.ack()
      }
      await client.end()
    }),
  )
  return {
    async stop() {
      isStopping = true
      await ended
    },
  }
}

/** Claims of one session, each from where the last one ended; from the head again when one brings less than was wanted. */
function drainBare(client: pg.Client, batch: number) {
  let after = '0'
  let claimed: string[] = []
  function remember(rows: readonly string[][]): number {
    claimed = rows.map(([id]) => id as string)
    after =
      claimed.length < batch ? '0' : claimed.reduce((highest, id) => (Number(id) > Number(highest) ? id : highest))
    return claimed.length
  }
  return {
    claim: async () => remember((await claim(client, [after, batch])).rows),
    async ackAndClaim() {
      return remember((await ackAndClaim(client, [after, batch, arrayOf(claimed)])).rows)
    },
    async ack() {
      if (claimed.length > 0) await ack(client, [arrayOf(claimed)])
      claimed = []
    },
  }
}

function batchOf(batch: number): string {
  return arrayOf(new Array(batch).fill(JSON.stringify(body)))
}

function arrayOf(elements: readonly string[]): string {
  return `{${elements.join(',')}}`
}
