/* What does not come over as it was, each with the reason.
 *
 *   unmapped   messages would go, or live, otherwise than they did: nothing is imported, unless --partial says to do without
 *   note       imported, and in some way not the same
 *   ignored    left out, and messages go as they did */

export interface Finding {
  readonly kind: 'unmapped' | 'note' | 'ignored'
  /** Such as: queue orders, x-expires. */
  readonly subject: string
  readonly why: string
}

/** Takes down a finding. */
export type Report = (kind: Finding['kind'], subject: string, why: string) => void

/** For what is looked at once more. */
export const unreported: Report = () => {}
