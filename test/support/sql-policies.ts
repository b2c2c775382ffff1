/* The words of the SQL tests on policies: set them, create queues under them, look at what came of it. */

import type pg from 'pg'
import type { TestDatabase } from './database.ts'
import { call, only, type Session } from './sql-verbs.ts'

export interface Info {
  readonly name: string
  readonly origins: Readonly<Record<string, string>>
  readonly updated_at: Date
  readonly [setting: string]: unknown
}

interface Policy {
  readonly name: string
  readonly pattern: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly queues: string
}

export function policiesOf({ pool, connect }: TestDatabase) {
  const names = async () => (await call<Policy>(pool, 'list_policies', {})).map(({ name }) => name)
  const deletePolicy = async (policy: string, session: Session = pool) =>
    Number(only(await call<{ delete_policy: string }>(session, 'delete_policy', { policy })).delete_policy)
  return {
    setPolicy: (policy: string, pattern: string | null, settings: unknown, session: Session = pool) =>
      call<Policy>(session, 'set_policy', { policy, pattern, settings: JSON.stringify(settings) }),
    /** How many queues it matched. */
    deletePolicy,
    /** The most specific first. */
    names,
    async deleteAll(): Promise<void> {
      for (const name of await names()) await deletePolicy(name)
    },
    create: async (queue: string, config: object = {}, session: Session = pool) =>
      only(await call<Info>(session, 'create_queue', { queue, ...config })),
    describe: async (queue: string) => only(await call<Info>(pool, 'describe_queue', { queue })),
    /** A session of its own, with a transaction open in which the work was done. */
    async inTransaction(work: (session: pg.Client) => Promise<unknown>): Promise<pg.Client> {
      const session = await connect()
      await session.query('begin')
      await work(session)
      return session
    },
  }
}
