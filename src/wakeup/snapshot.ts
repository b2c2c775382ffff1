/* What a snapshot of Postgres (xmin:xmax:xid,xid,…) tells of the transactions that were still open when it was taken. */

/** How many ids before this one were of transactions that had not ended. As transactions end it becomes less, never more; at 0 all have.
 *
 * The list holds those below xmax only. xmax is one more than the last id that had ended, so whatever lies above had not, and is not
 * listed: counting the list alone would lose a transaction that has just begun. */
export function openBefore(snapshot: string, xid: bigint): number {
  const [, xmax = '0', listed = ''] = snapshot.split(':')
  const above = xid > BigInt(xmax) ? Number(xid - BigInt(xmax)) : 0
  return above + listed.split(',').filter((open) => open !== '' && BigInt(open) < xid).length
}
