/* A connection of a pool for longer than one statement. */
import type pg from 'pg'

export interface Borrowed {
  readonly client: pg.PoolClient
  /** To be called once, whatever became of it: a connection that broke meanwhile, or that is said to be no good, is not used again. */
  giveBack(isNoGood?: boolean): void
}

/** Take a connection. One that is lost while it is out fails its statements, and does not end the process: the pool's own listener is for those
 * that rest. */
export async function borrow(pool: pg.Pool): Promise<Borrowed> {
  const client = await pool.connect()
  let broken: Error | undefined
  const lose = (error: Error) => {
    broken = error
  }
  client.on('error', lose)
  return {
    client,
    giveBack(isNoGood = false) {
      client.off('error', lose)
      client.release(broken ?? isNoGood)
    },
  }
}
