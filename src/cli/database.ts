/* The database that migrate and uninstall work on: DATABASE_URL, or the embedded one of "postbag dev" while that runs. */
import type pg from 'pg'
import { serverConfig } from '../config.ts'
import { asQueueError } from '../db/call.ts'
import { Ending, exitCodes } from './exit.ts'

/** Do the work on a pool, and close it. `place` says which database it is, without a password. */
export async function useDatabase(work: (pool: pg.Pool, place: string) => Promise<void>): Promise<void> {
  const { connect } = await import('../db/connect.ts')
  const { embeddedUrl } = await import('../db/embedded-files.ts')
  const { databaseUrl, dataFolder } = serverConfig({
    DATABASE_URL: process.env['DATABASE_URL'],
    POSTBAG_DATA: process.env['POSTBAG_DATA'],
  })
  const url = databaseUrl ?? (await embeddedUrl(dataFolder))
  if (url === undefined) {
    const folder = `there is no embedded one in ${dataFolder}`
    throw new Ending(
      exitCodes.failed,
      `which database? DATABASE_URL is not set, and ${folder}: "postbag dev" makes one`,
    )
  }
  const pool = connect(url, { maxConnections: 1 })
  try {
    await work(pool, placeOf(url))
  } catch (error) {
    const refused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
    if (!refused || databaseUrl !== undefined) throw asQueueError(error)
    throw new Ending(
      exitCodes.unavailable,
      `the embedded database in ${dataFolder} does not run: "postbag dev" starts it`,
    )
  } finally {
    await pool.end()
  }
}

/** A connection string as it may be shown: without its password and what else it carries. */
export function placeOf(url: string): string {
  const { hostname, port, pathname } = URL.parse(url) ?? {}
  return hostname ? `${hostname}${port ? `:${port}` : ''}${pathname}` : 'the database of DATABASE_URL'
}
