/* A pool in an instance that its platform freezes between requests (AWS Lambda). While it is frozen, no timer fires, and a connection can die
 * without a word: the database restarts, or something in between forgets it. A statement on it would fail, or hang until TCP gives up.
 *
 *  1. So a connection that was not used for a second is asked something before it gets a statement. If it does not answer in time, the
 *     pool drops it, and the statement gets a new one. What is sent is never sent twice.
 *  2. While requests follow each other closely, nothing is asked. */
import type pg from 'pg'
import { borrow } from './borrow.ts'
import type { Preparer } from './prepare.ts'

/** An instance that is busy is not frozen for longer. */
const longestRestMillis = 1000

/** Its answer may take so many milliseconds, before the connection counts as dead. (The types lack the option.) */
const question = { text: 'select', query_timeout: 1000 }

/** @param pool of one connection, which its idle timer does not close.
 * @param now in milliseconds, of a clock that goes on while the instance is frozen. */
export function thawing(pool: pg.Pool, now: () => number = Date.now): Preparer {
  let usedAt = now()
  return {
    async query(statement) {
      if (pool.idleCount > 0 && now() - usedAt > longestRestMillis) await prove(pool)
      try {
        return await pool.query(statement)
      } finally {
        usedAt = now()
      }
    },
  }
}

async function prove(pool: pg.Pool): Promise<void> {
  const { client, giveBack } = await borrow(pool)
  try {
    await client.query(question)
    giveBack()
  } catch {
    giveBack(true)
  }
}
