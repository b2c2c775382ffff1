/* Time as an argument. Production passes nothing and the database's clock rules, so that clocks at the edge cannot disagree; tests
 * pass a clock and move it. */

/** Tells the time to use instead of the database's, or undefined to leave it to the database. */
export type Clock = () => Date | undefined

/** The database's own clock. */
export const databaseClock: Clock = () => undefined
