/* Postbag by SQL: what its doors say to the database, which is one prepared statement per verb. */
import type pg from 'pg'
import { body, prepared, type SqlContender } from './sql.ts'

const sendBatch = prepared('send', 'select id from postbag.send_batch($1, $2::jsonb, alone => true)')
const sendBatchAndNotify = prepared(
  'send_and_notify',
  `select id, pg_notify('bench', '') from postbag.send_batch($1, $2::jsonb, alone => true)`,
)
const receive = prepared('receive', 'select receipt, body from postbag.receive($1, $2::integer, alone => true)')
const ack = prepared('ack', 'select outcome from postbag.ack($1, $2::jsonb, alone => true)')
const ackAndReceive = prepared(
  'ack_and_receive',
  `select outcome, receipt, null as body from postbag.ack($1, $2::jsonb, alone => true, rides => true)
  union all select null, receipt, body from postbag.receive($1, $3::integer, alone => true)`,
)

export interface PostbagOptions {
  readonly queue?: string
  /** Which queue the next round of a cycle uses, where there are several. */
  readonly nextQueue?: () => string
  /** How many groups messages go to, at random; without it they have none. */
  readonly groups?: number | undefined
  /** The body of each message. Defaults to one of 200 bytes. */
  readonly json?: string
  /** Further fields of each message, as JSON without the braces. */
  readonly fields?: string
  /** Each send notifies too, which Postbag never does: to see what that would cost. */
  readonly notifies?: boolean
}

/** Makes the JSON of a batch; the same text each time where there are no groups. */
function batches({ groups, json = body, fields }: PostbagOptions, batch: number): () => string {
  const message = `{"json":${JSON.stringify(json)}${fields === undefined ? '' : `,${fields}`}`
  if (groups === undefined) {
    const text = `[${new Array(batch).fill(`${message}}`).join(',')}]`
    return () => text
  }
  const inGroup = `${message},"group":"group-`
  return () => {
    let text = '['
    for (let n = 0; n < batch; n++) text += `${n > 0 ? ',' : ''}${inGroup}${Math.floor(Math.random() * groups)}"}`
    return `${text}]`
  }
}

/** Send a batch, receive one, ack it: three statements. */
export function postbagCycle(options: PostbagOptions = {}): SqlContender {
  const { queue = 'bench', nextQueue = () => queue } = options
  return {
    name: 'Postbag',
    open(client, batch) {
      const next = batches(options, batch)
      return {
        async round() {
          const name = nextQueue()
          await sendBatch(client, [name, next()])
          return receiveAndAck(client, name, batch)
        },
      }
    },
  }
}

/** The same in two statements: what a round received is acked together with the next round's receive. */
export function postbagRidingCycle(options: PostbagOptions = {}): SqlContender {
  const { queue = 'bench' } = options
  return {
    name: 'Postbag, acks ride',
    open(client, batch) {
      const next = batches(options, batch)
      const riding = ridingReceives(client, queue, batch)
      return {
        async round() {
          await sendBatch(client, [queue, next()])
          return riding.round()
        },
        finish: riding.finish,
      }
    },
  }
}

export function postbagSend(options: PostbagOptions = {}): SqlContender {
  const { queue = 'bench' } = options
  const send = options.notifies ? sendBatchAndNotify : sendBatch
  return {
    name: 'Postbag send_batch',
    open(client, batch) {
      const next = batches(options, batch)
      return {
        async round() {
          await send(client, [queue, next()])
          return batch
        },
      }
    },
  }
}

/** Of what is there: receive and ack, two statements. */
export function postbagDrain(queue: string): SqlContender {
  return { name: 'Postbag', open: (client, batch) => ({ round: () => receiveAndAck(client, queue, batch) }) }
}

/** The same in one statement. */
export function postbagRidingDrain(queue: string): SqlContender {
  return { name: 'Postbag, acks ride', open: (client, batch) => ridingReceives(client, queue, batch) }
}

async function receiveAndAck(client: pg.Client, queue: string, batch: number): Promise<number> {
  const { rows } = await receive(client, [queue, batch])
  if (rows.length === 0) return 0
  await ack(client, [queue, JSON.stringify(rows.map(([receipt]) => receipt))])
  return rows.length
}

function ridingReceives(client: pg.Client, queue: string, batch: number) {
  let receipts: (string | undefined)[] = []
  return {
    async round() {
      const { rows } =
        receipts.length === 0
          ? await receive(client, [queue, batch])
          : await ackAndReceive(client, [queue, JSON.stringify(receipts), batch])
      const acked = receipts.length
      receipts = acked === 0 ? rows.map(([receipt]) => receipt) : rows.slice(acked).map(([, receipt]) => receipt)
      return receipts.length
    },
    async finish() {
      if (receipts.length > 0) await ack(client, [queue, JSON.stringify(receipts)])
      receipts = []
    },
  }
}

/** Whether messages are left. */
export const postbagLeft = 'select exists (select from postbag.message) as "isLeft"'
