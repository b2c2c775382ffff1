/* What a database library must offer to be put through the claims of test/outbox/claims.ts: transactions and savepoints as its users write
 * them, a row inserted its own way, and the executor that stands for them. */
import type { DatabaseHandle } from '../../../src/db/connect.ts'

export interface Transaction {
  readonly executor: DatabaseHandle
  /** A row of the table example_order. */
  insert(item: string): Promise<unknown>
  /** A transaction within: undone alone if the work fails. */
  savepoint(work: (inner: Transaction) => Promise<void>): Promise<unknown>
}

export interface Library {
  /** In no transaction. */
  readonly executor: DatabaseHandle
  transaction(work: (tx: Transaction) => Promise<void>): Promise<unknown>
  close(): Promise<unknown>
}

export const orderTable =
  'create table example_order (id integer primary key generated always as identity, item text not null)'
