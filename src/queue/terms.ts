/* On what terms a verb on messages runs: by whose clock, and as how much of a transaction. */
import { type Clock, databaseClock } from '../clock.ts'

export interface Terms {
  /** The time to use. Defaults to the database's. */
  readonly clock?: Clock
  /** True if the statement is the whole transaction: then claims and acks do not wait for the disk, and a queue's relaxed durability takes
   * effect. Defaults to false: in a caller's transaction it would reach the caller's own work. */
  readonly alone?: boolean
}

/** The terms as parameters of a statement: the time or undefined for the database's, and whether it is alone. */
export function termsToSql({ clock = databaseClock, alone = false }: Terms): readonly [Date | undefined, boolean] {
  return [clock(), alone]
}
