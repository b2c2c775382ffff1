/* A minute of traffic while another transaction holds a snapshot (repeatable read, open): no dead row can be removed meanwhile. */
import pg from 'pg'
import { type Measured, measure } from './measure.ts'
import type { Contender } from './sql-cycle.ts'

/** What 8 connections do at the beginning and at the end of it. */
export async function underHeldSnapshot(
  databaseUrl: string,
  contender: Contender,
  { connections, seconds, batch }: { readonly connections: number; readonly seconds: number; readonly batch: number },
): Promise<{ readonly start: Measured; readonly end: Measured }> {
  const holder = new pg.Client(databaseUrl)
  const clients = Array.from({ length: connections }, () => new pg.Client(databaseUrl))
  await Promise.all([holder, ...clients].map((client) => client.connect()))
  try {
    const rounds = clients.map((client) => () => contender.round(client, batch))
    const part = Math.max(1, seconds / 12)
    await measure(rounds, { seconds: part, warmUpSeconds: 0 })
    await holder.query('begin isolation level repeatable read; select 1')
    const start = await measure(rounds, { seconds: part, warmUpSeconds: 0 })
    const end = await measure(rounds, { seconds: part, warmUpSeconds: seconds - 2 * part })
    await holder.query('rollback')
    return { start, end }
  } finally {
    await Promise.all([holder, ...clients].map((client) => client.end()))
  }
}
