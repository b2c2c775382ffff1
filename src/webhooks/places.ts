/* How the attempts of a deliverer share its places, so that endpoints that do not answer, however many they are, leave room for the others. Pure.
 *
 *  1. An attempt has a slot for its first second. One that takes longer waits without a slot: that costs a socket and its body, and holds up
 *     nobody. There is room for eight times as many attempts as there are slots, and for so many bytes.
 *  2. Endpoints that are not trusted (migrations: claim_deliveries.sql) have at most half of the slots, and half of the room in all.
 *  3. An endpoint that lets an attempt wait for more than a second gets no other until that one has ended, unless it is known to be slow; nor
 *     does, for a second, one whose host takes no more.
 *  4. When many are silent that were well (a network, a cloud is down), nobody is trusted who has not answered here in the last ten seconds; nor in the
 *     first second, when nobody can have been silent. So the others cost one attempt each, and those that answer keep their half. */
import { maxBytesUnderWay, maxTrustedEndpoints } from '../limits.ts'
import type { Delivery } from './deliveries.ts'

/** What may be claimed now. */
export interface Room {
  /** 0 until a quarter of the slots is free, so that a claim is worth its statement. */
  readonly most: number
  /** Of these, of endpoints that are not trusted. */
  readonly mostDoubtful: number
  /** Of bodies, about. */
  readonly mostBytes: number
  /** Names of endpoints that get nothing. */
  readonly avoided: readonly string[]
  /** Names of the only endpoints that are trusted; undefined: all are that look well. */
  readonly trusted: readonly string[] | undefined
  /** When there will be more room although no attempt ends; Infinity: never. */
  readonly changesAt: number
}

export interface Places {
  /** How many attempts are under way. */
  readonly underWay: number
  /** Times are in milliseconds, of any clock that never goes back. An attempt begins; what is returned ends it. */
  begin(delivery: Pick<Delivery, 'endpoint' | 'standing' | 'body'>, now: number): () => void
  /** Something has arrived there. */
  trust(endpoint: string, now: number): void
  /** Its host takes no more at the moment. */
  avoid(endpoint: string, now: number): void
  room(now: number): Room
}

const SLOT_MILLIS = 1000
const TRUST_MILLIS = 10_000
/** Which part of the slots one claim gives to those that are not trusted, so that it does not take long. */
const DOUBTFUL_PER_CLAIM = 1 / 16

interface Attempt extends Pick<Delivery, 'endpoint' | 'standing'> {
  readonly size: number
  readonly slotUntil: number
}

/** @param roomPerSlot how many times as many attempts as there are slots may be under way */
export function createPlaces(slots: number, roomPerSlot = 8): Places {
  // In the order in which they began, and in that in which they are over.
  const attempts = new Set<Attempt>()
  const trusted = createTerms(TRUST_MILLIS)
  const avoided = createTerms(SLOT_MILLIS)
  const most = slots * roomPerSlot
  const half = (count: number) => Math.ceil(count / 2)
  let bytes = 0
  let firstSecondUntil: number | undefined

  return {
    get underWay() {
      return attempts.size
    },
    begin({ endpoint, standing, body }, now) {
      const attempt = { endpoint, standing, size: body.length, slotUntil: now + SLOT_MILLIS }
      firstSecondUntil ??= attempt.slotUntil
      attempts.add(attempt)
      bytes += attempt.size
      return () => {
        if (attempts.delete(attempt)) bytes -= attempt.size
      }
    },
    trust: trusted.begin,
    avoid: avoided.begin,
    room(now) {
      const all = [...attempts]
      const doubtful = all.filter(({ standing }) => standing !== 'trusted')
      const withSlot = all.filter(({ slotUntil }) => slotUntil > now)
      const doubtfulWithSlot = doubtful.filter(({ slotUntil }) => slotUntil > now)
      const silent = all.filter(({ standing, slotUntil }) => standing !== 'slow' && slotUntil <= now)
      const wereWell = silent.filter(({ standing }) => standing !== 'unproven')

      const free = Math.min(slots - withSlot.length, most - all.length)
      const freeForDoubtful = Math.min(
        half(slots) - doubtfulWithSlot.length,
        half(most) - doubtful.length,
        Math.ceil(slots * DOUBTFUL_PER_CLAIM),
      )
      const isFull = free < slots / 4 || bytes >= maxBytesUnderWay
      const [next] = isFull ? withSlot : freeForDoubtful <= 0 ? doubtfulWithSlot : []
      const isAlarmed = wereWell.length >= slots / 8 || now < (firstSecondUntil ?? Infinity)
      const shunned = avoided.at(now)
      return {
        most: isFull ? 0 : free,
        mostDoubtful: isFull ? 0 : Math.max(0, Math.min(free, freeForDoubtful)),
        mostBytes: Math.max(0, maxBytesUnderWay - bytes),
        avoided: [...new Set([...shunned.names, ...silent.map(({ endpoint }) => endpoint)])],
        trusted: isAlarmed ? trusted.at(now).names : undefined,
        changesAt: Math.min(next?.slotUntil ?? Infinity, shunned.until),
      }
    },
  }
}

/** Names of endpoints, each for so long; the last of them, if they are many. */
function createTerms(millis: number) {
  const ends = new Map<string, number>()
  return {
    begin(endpoint: string, now: number): void {
      ends.delete(endpoint)
      ends.set(endpoint, now + millis)
      for (const [eldest, end] of ends) {
        if (end > now && ends.size <= maxTrustedEndpoints) break
        ends.delete(eldest)
      }
    },
    /** Those of this moment, and when the first of them is none any more. */
    at(now: number): { readonly names: readonly string[]; readonly until: number } {
      const current = [...ends].filter(([, end]) => end > now)
      return { names: current.map(([endpoint]) => endpoint), until: current[0]?.[1] ?? Infinity }
    },
  }
}
