/* How many attempts may be under way at once, in all and to one host, so that no host takes all sockets. Who finds no place is told so
 * at once: a queue here would hold memory, and eat the time of those in it for what others do. Pure. */

export interface Slots {
  /** A place for this host, and how to give it back; undefined: there is none. */
  take(host: string): (() => void) | undefined
  readonly taken: number
}

export function createSlots(limits: { readonly total: number; readonly perHost: number }): Slots {
  const perHost = new Map<string, number>()
  let taken = 0
  return {
    take(host) {
      const here = perHost.get(host) ?? 0
      if (taken >= limits.total || here >= limits.perHost) return undefined
      taken++
      perHost.set(host, here + 1)
      return () => {
        taken--
        const left = (perHost.get(host) ?? 0) - 1
        if (left > 0) perHost.set(host, left)
        else perHost.delete(host)
      }
    },
    get taken() {
      return taken
    },
  }
}
