/* ack, nack, extend: what becomes of leases. A result per receipt; a refused receipt is a result, not an error. */
import { QueueError } from '../errors.ts'
import type { ExtendRequest, NackRequest, Outcome, Settlement, SettleResponse } from '../wire.ts'
import type { CallOptions, Patience } from './connection.ts'
import type { Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'

/** Most receipts of one request. */
export const MAX_BATCH = 1000

export type Verb = 'ack' | 'nack' | 'extend'

export interface NackOptions extends Given<Omit<NackRequest, 'receipts'>>, CallOptions {}

export interface ExtendOptions extends Given<Omit<ExtendRequest, 'receipts'>>, CallOptions {}

/** The outcomes that an earlier try of the same call explains, if its answer got lost. They count as ok then, and soundly: gone is what an
 * ack wants, given back is what a nack wants, and what else leads there (the lease ended and somebody else went on) leads to the
 * same place, as at-least-once delivery permits. What may be missing is the nack's delay and error. A repeated extend is ok anyway. */
const explained: Readonly<Record<Verb, readonly Outcome[]>> = {
  ack: ['message_gone'],
  nack: ['lease_lost', 'message_gone'],
  extend: [],
}

export async function settle(
  { connection, path }: RemoteQueue,
  verb: Verb,
  request: Given<NackRequest> | Given<ExtendRequest>,
  patience: Patience,
): Promise<readonly Settlement[]> {
  if (request.receipts?.length === 0) return []
  const { data, tries } = await connection.call<SettleResponse>('POST', `${path}/${verb}`, request, patience)
  return tries > 1 ? explain(verb, data.results) : data.results
}

/** What a repeated call's results mean. */
export function explain(verb: Verb, results: readonly Settlement[]): readonly Settlement[] {
  return results.map(({ receipt, outcome }) => ({
    receipt,
    outcome: explained[verb].includes(outcome) ? 'ok' : outcome,
  }))
}

/** Settle one message.
 * @throws QueueError like refuse() */
export async function settleOne(
  queue: RemoteQueue,
  verb: Verb,
  { id, receipt }: { readonly id: string; readonly receipt: string },
  request: object,
  options: CallOptions,
): Promise<void> {
  const [result] = await settle(queue, verb, { ...request, receipts: [receipt] }, options)
  refuse(verb, id, result?.outcome)
}

/** @throws QueueError with the outcome as its code, unless that is ok. */
export function refuse(verb: Verb, messageId: string, outcome: Outcome = 'ok'): void {
  if (outcome === 'ok') return
  throw new QueueError(outcome, `message ${messageId} must be leased by this receipt to ${verb} it, got ${outcome}`)
}
