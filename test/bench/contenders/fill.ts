/* Backlogs: many messages quickly, through the same door as the measured ones, a thousand at a time; and waiting until one is gone. */
import type pg from 'pg'
import type { Bench, Database } from '../bench.ts'
import { postbagSend } from './postbag-sql.ts'
import { connectAll, type SqlContender } from './sql.ts'

const connections = 4

export interface FillOptions {
  /** Most messages of one send. Defaults to 1000. */
  readonly batch?: number
  /** Hears of every 200,000. */
  readonly say?: (step: string) => void
}

/** Send so many messages, rounded up to whole batches. */
export async function fill(
  databaseUrl: string,
  sender: SqlContender,
  messages: number,
  { batch = 1000, say = () => {} }: FillOptions = {},
): Promise<void> {
  const clients = await connectAll(databaseUrl, connections)
  const size = Math.min(batch, Math.ceil(messages / connections))
  let begun = 0
  try {
    await Promise.all(
      clients.map(async (client) => {
        const session = sender.open(client, size)
        while (begun < messages) {
          begun += size
          if (begun % 200_000 === 0)
            say(`${begun.toLocaleString('en')} of ${messages.toLocaleString('en')} messages sent`)
          await session.round()
        }
      }),
    )
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

/** How long a backlog that nobody adds to may take to be gone. */
const patienceMillis = 60_000

/** Wait until nothing is left. @param left a statement that says whether something `isLeft` */
export async function untilNothingIsLeft(pool: pg.Pool, left: string): Promise<void> {
  const giveUp = performance.now() + patienceMillis
  while ((await pool.query<{ isLeft: boolean }>(left)).rows[0]?.isLeft) {
    if (performance.now() > giveUp) throw new Error(`something is left after ${patienceMillis / 1000} s: ${left}`)
  }
}

/** Fills a database with a queue where so many messages of a full run wait, in so many groups or none. */
export function filledQueue(bench: Bench, backlog: number, groups?: number) {
  return async ({ url, pool }: Database): Promise<void> => {
    await pool.query(`select name from postbag.create_queue('bench')`)
    if (backlog === 0) return
    await fill(url, postbagSend({ groups }), bench.count(backlog, 100), { say: (step) => bench.say(step) })
  }
}
