/* The receives that wait for one queue, in the order in which they came.
 *
 *  1. Each is parked, or looks. A hint lets so many of the parked ones look as it may be messages for, those that came first before others.
 *  2. A look that came back full says that there may be more: the next one may look, and if that is full, too, two more for each (so a
 *     thousand messages reach a thousand waiters in eleven steps, and one message costs one look in vain). A look that was not filled
 *     says that there is nothing more for now.
 *  3. A hint that comes while somebody looks is not lost and not another's: when the looks are over, there is one more.
 *  4. When nobody looks any more and somebody is parked, the line rests: `onRest`. Its owner now sees to the next hint.
 *  5. Who is new looks at once, on its own account, unless the owner knows that there is nothing.
 *  6. A look may hang, on a connection that says nothing any more. So it holds up the others for half a second only: then it goes on on its own
 *     account, and the next one looks, who may take twice as long, and so on until one comes back in time. (Where all looks take long, a few
 *     are enough for that.) */
import type { Waiter } from './hub.ts'

export interface LineOwner {
  /** Whether it is known that nothing is there, and the line will be told when there is. */
  isEmpty(): boolean
  /** Whether nothing was there a moment ago, so that a wait that ends need not look a last time. */
  wasEmpty(): boolean
  /** Somebody is parked and nobody looks; `found`: whether a look found something since the line rested last. */
  onRest(found: boolean): void
  /** Somebody new, or nobody left. */
  onChange(): void
}

export interface Line {
  join(max: number): Waiter
  /** Let those look for whom there may be so many messages. */
  wake(messages: number): void
  /** How many there are, and how many of them are parked. */
  readonly length: number
  readonly parked: number
  /** Whether somebody is parked and nobody looks. */
  readonly isResting: boolean
  /** Answer everybody: there is no need to look any more. */
  close(): void
}

/** For how long a look holds up the others, in milliseconds. */
const patienceMillis = 500
/** How often that is doubled: to 32 s, longer than a statement may take. */
const mostDoublings = 6

interface Seat {
  readonly max: number
  state: 'new' | 'parked' | 'looking'
  /** Looking: until it does so on its own account. */
  timer?: ReturnType<typeof setTimeout>
  /** Ends its wait: whether it should look. */
  answer: (look: boolean) => void
}

export function createLine(owner: LineOwner): Line {
  const seats = new Set<Seat>()
  let closed = false
  let parked = 0
  let looks = 0
  // How many messages those who look would take.
  let wanted = 0
  // How many looks came back full since the line rested.
  let streak = 0
  // How many looks in a row took too long.
  let overdue = 0
  let isHinted = false
  let hasFound = false

  function letLook(most: (seat: Seat) => boolean): void {
    for (const seat of seats) {
      if (seat.state !== 'parked') continue
      unpark(seat, 'looking')
      looks++
      wanted += seat.max
      seat.timer = setTimeout(() => letGo(seat), patienceMillis * 2 ** Math.min(overdue, mostDoublings))
      seat.answer(true)
      if (!most(seat)) return
    }
  }

  function letLookNext(count: number): void {
    let left = count
    letLook(() => --left > 0)
  }

  function wake(messages: number): void {
    const mayMissIt = looks > 0
    let left = messages - wanted
    if (left > 0) {
      letLook((seat) => {
        left -= seat.max
        return left > 0
      })
    }
    isHinted ||= (mayMissIt || left > 0) && seats.size > 0
  }

  /** What it was to see may be there still. */
  function letGo(seat: Seat): void {
    seat.state = 'new'
    looks--
    wanted -= seat.max
    overdue++
    isHinted = true
    rest()
  }

  function hasLooked(seat: Seat, found: number): void {
    clearTimeout(seat.timer)
    looks--
    wanted -= seat.max
    overdue = 0
    hasFound ||= found > 0
    if (found >= seat.max) letLookNext(++streak === 1 ? 1 : 2)
    rest()
  }

  function rest(): void {
    if (looks > 0 || closed) return
    if (isHinted) {
      isHinted = false
      letLookNext(1)
    }
    if (looks > 0 || parked === 0) return
    const found = hasFound
    hasFound = false
    streak = 0
    owner.onRest(found)
  }

  function unpark(seat: Seat, state: 'new' | 'looking'): void {
    seat.state = state
    parked--
  }

  /** Resolves when it is let look, or its time is over. */
  function park(seat: Seat, millis: number, signal: AbortSignal): Promise<boolean> {
    const { state } = seat
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        // It looks on its own account for the last time, if nobody else would have seen what is there.
        const look = !owner.wasEmpty()
        unpark(seat, 'new')
        seat.answer(look)
      }, millis)
      const abort = () => {
        unpark(seat, 'new')
        seat.answer(false)
      }
      seat.answer = (look) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', abort)
        resolve(look)
      }
      signal.addEventListener('abort', abort)
      seat.state = 'parked'
      parked++
      if (state === 'looking') hasLooked(seat, 0)
      else rest()
    })
  }

  return {
    get length() {
      return seats.size
    },
    get parked() {
      return parked
    },
    get isResting() {
      return parked > 0 && looks === 0
    },
    wake,
    join(max) {
      const seat: Seat = { max, state: 'new', answer: () => {} }
      seats.add(seat)
      owner.onChange()
      return {
        looksFirst: !closed && !owner.isEmpty(),
        async hint(millis, signal) {
          return !closed && !signal.aborted && millis > 0 && park(seat, millis, signal)
        },
        leave(found) {
          seats.delete(seat)
          if (seat.state === 'looking') hasLooked(seat, found)
          if (seats.size === 0) owner.onChange()
        },
      }
    },
    close() {
      closed = true
      for (const seat of seats) {
        if (seat.state === 'parked') {
          unpark(seat, 'new')
          seat.answer(false)
        }
      }
    },
  }
}
