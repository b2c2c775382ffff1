/* ack, nack, extend: what the owner of a lease does with it. One outcome per receipt, in their order; a refused receipt changes
 * nothing. All in the executor's transaction, so that work and ack can commit together. */
import { call, callList, type Executor, withPatience } from '../db/call.ts'
import type { AckRequest, ExtendRequest, NackRequest, ReceivedMessage, Settlement } from '../wire.ts'
import { type Terms, termsToSql } from './terms.ts'

/** The messages are done: delete them.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function ack(
  executor: Executor,
  queue: string,
  { receipts }: AckRequest,
  terms: Terms = {},
): Promise<readonly Settlement[]> {
  return callList<Settlement>(executor, {
    text: ackText,
    queue,
    elements: receipts.map((receipt) => JSON.stringify(receipt)),
    values: termsToSql(terms),
  })
}

const ackText = `select receipt, outcome from postbag.ack(
  $1, $2::jsonb, now => coalesce($3::timestamptz, clock_timestamp()), alone => $4::boolean and ${withPatience('$5::text')}
)`

/** Give messages back, to be received again after delaySeconds, or make dead letters of them.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function nack(
  executor: Executor,
  queue: string,
  { receipts, delaySeconds, error, deadLetter = false, untried = false }: NackRequest,
  terms: Terms = {},
): Promise<readonly Settlement[]> {
  return call<Settlement>(
    executor,
    `select receipt, outcome from postbag.nack(
      $1,
      $2::jsonb,
      delay => make_interval(secs => $5::double precision),
      error => $6,
      now => coalesce($3::timestamptz, clock_timestamp()),
      dead_letter => $7::boolean,
      untried => $8::boolean,
      alone => $4::boolean
    )`,
    [
      queue,
      JSON.stringify(receipts),
      ...termsToSql(terms),
      delaySeconds,
      error && storable(error),
      deadLetter,
      untried,
    ],
  )
}

/** Give back what nobody got: at once, and the attempt does not count. With autoAck it is gone: that is what "at most once" means. */
export async function giveBack(
  executor: Executor,
  queue: string,
  messages: readonly Pick<ReceivedMessage, 'receipt'>[],
  terms: Terms = {},
): Promise<void> {
  const receipts = messages.flatMap(({ receipt }) => receipt || [])
  if (receipts.length > 0) await nack(executor, queue, { receipts, delaySeconds: 0, untried: true }, terms)
}

/** How long an extend that is the whole transaction waits for one message: what it has extended already is locked meanwhile, and a consumer
 * of that message would be waited for, too, who settles it in a transaction that takes its time. */
const extendPatience = '1s'

/** Keep messages for leaseSeconds from now on.
 * @throws the database's 55P03, where it is alone, if somebody else has one of the messages in a transaction: then none is extended
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function extend(
  executor: Executor,
  queue: string,
  { receipts, leaseSeconds }: ExtendRequest,
  terms: Terms = {},
): Promise<readonly Settlement[]> {
  return call<Settlement>(
    executor,
    `select receipt, outcome from postbag.extend(
      $1,
      $2::jsonb,
      lease => make_interval(secs => $5::double precision),
      now => coalesce($3::timestamptz, clock_timestamp()),
      alone => $4::boolean and ${withPatience('$6::text')}
    )`,
    [queue, JSON.stringify(receipts), ...termsToSql(terms), leaseSeconds, terms.alone ? extendPatience : undefined],
  )
}

/** An error text with what Postgres cannot hold replaced: losing a character is better than refusing the nack. */
function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}
