/* The words of the tests of groups: messages named by their group, and all that comes out of a queue. */
import type pg from 'pg'
import type { TestDatabase } from './database.ts'
import { at, bodies, on, receipts, type Session } from './sql-verbs.ts'

/** Each as one message of the group that its first letter names. */
export function parcels(names: string): { readonly body: string; readonly group: string | undefined }[] {
  return names.split(' ').map((body) => ({ body, group: body[0] }))
}

/** A session in whose transactions nothing may wait for another one. */
export async function impatient(db: TestDatabase): Promise<pg.Client> {
  const session = await db.connect()
  await session.query(`set lock_timeout = '1 s'`)
  return session
}

/** All that can be received and acked from then on, until nothing comes for a while. */
export async function drained(session: Session, queue: string, from: number): Promise<unknown[]> {
  const all = []
  for (let second = from, idle = 0; idle < 3; second += 100, idle++) {
    const got = await on(session, queue).receive(9, { now: at(second) })
    if (got.length === 0) continue
    await on(session, queue).ackWith(receipts(got), { now: at(second) })
    all.push(...bodies(got))
    idle = 0
  }
  return all
}
