/* The queue that people write by hand: one table, a visibility column, SKIP LOCKED, delete (the shape of pgmq). */
import type pg from 'pg'
import { body, prepared, type SqlContender, unnamed } from './sql.ts'

const insertText = 'insert into plain_queue (message) select * from unnest($1::jsonb[]) returning id'
const claimText = `
  with head as (
    select id from plain_queue where visible_at <= clock_timestamp() order by id limit $1 for update skip locked
  )
  update plain_queue set visible_at = clock_timestamp() + interval '30 s', read_count = read_count + 1
  from head where plain_queue.id = head.id returning plain_queue.id, message`
const removeText = 'delete from plain_queue where id = any($1::bigint[]) returning id'

const byHand = { insert: unnamed(insertText), claim: unnamed(claimText), remove: unnamed(removeText) }
const byName = {
  insert: prepared('insert', insertText),
  claim: prepared('claim', claimText),
  remove: prepared('remove', removeText),
}

export async function createPlainTable(pool: pg.Pool): Promise<void> {
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
}

export interface PlainOptions {
  readonly json?: string
  /** With statements prepared by name, which few people write. */
  readonly isPrepared?: boolean
}

export function plainCycle({ json = body, isPrepared = false }: PlainOptions = {}): SqlContender {
  const statements = isPrepared ? byName : byHand
  return {
    name: `plain table${isPrepared ? ', prepared' : ''}`,
    open(client, batch) {
      const messages = arrayOf(json, batch)
      return {
        async round() {
          await statements.insert(client, [messages])
          return claimAndRemove(client, batch, statements)
        },
      }
    },
  }
}

export const plainSend: SqlContender = {
  name: 'plain table',
  open(client, batch) {
    const messages = arrayOf(body, batch)
    return {
      async round() {
        await byHand.insert(client, [messages])
        return batch
      },
    }
  },
}

export const plainDrain: SqlContender = {
  name: 'plain table',
  open: (client, batch) => ({ round: () => claimAndRemove(client, batch, byHand) }),
}

async function claimAndRemove(
  client: pg.Client,
  batch: number,
  { claim, remove }: Pick<typeof byHand, 'claim' | 'remove'>,
): Promise<number> {
  const { rows } = await claim(client, [batch])
  if (rows.length === 0) return 0
  await remove(client, [`{${rows.map(([id]) => id).join(',')}}`])
  return rows.length
}

/** So many of one text as the text of an array. */
function arrayOf(text: string, length: number): string {
  return `{${new Array(length).fill(JSON.stringify(text)).join(',')}}`
}
