/* The books of the payment examples: what each account has, and a row for each payment. Nothing in these tables keeps a payment from being
 * booked twice; that is what the consumers are about. */
import type pg from 'pg'

export interface Payment {
  readonly account: number
  readonly amount: number
}

export const books = `
  drop table if exists example_balance, example_ledger;
  create table example_balance (account integer primary key, amount integer not null);
  create table example_ledger (account integer not null, amount integer not null, charge text);
`

/** Book a payment, in the transaction that the connection is in. @param charge what the provider calls it, if one was asked. */
export async function book(db: pg.Client, { account, amount }: Payment, charge?: string): Promise<void> {
  await db.query('insert into example_ledger (account, amount, charge) values ($1, $2, $3)', [account, amount, charge])
  await db.query('update example_balance set amount = amount + $2 where account = $1', [account, amount])
}
