/* Coalescing: what several callers ask of one queue at the same time goes out as one statement, in one transaction. The commit is what a
 * small statement costs most, and so many callers share it.
 *
 *  1. A call goes out at once if nothing of its kind is under way for its queue. What comes meanwhile is gathered, and goes together when
 *     that ends, or beside it after 2 ms (the database may be far away). So an idle queue waits for nothing, and batches grow with the load.
 *  2. A caller is answered when the transaction with its own elements has committed. Elements stand in the order in which they came.
 *  3. All or none holds per caller: a joint statement that the database refuses has changed nothing, so its calls go again, before all others,
 *     and only what is refused alone gets the refusal. The next statement is one call, and those that follow, as long as none is refused, two,
 *     four and so on: who is refused again and again (a full queue) does not make the others pay for it each time. Nor do they all go at
 *     once: that would take every connection from everybody else.
 *  4. A statement whose end is unknown (the connection broke, the session was ended) is not run again: everyone in it gets the error.
 *  5. Nobody waits for what another caller waits for: a statement that meets a lock gives up after a moment, and goes on as in 3; a call that
 *     meets it alone goes beside the others, and waits. Of those there are at most 3, as each has a connection meanwhile, and nobody knows for
 *     how long: a further one is told to try again.
 *     (A send waits for a transaction that has sent the same dedup id and is open still; an ack for one that is settling the message.)
 *
 * For processes that live long and may share connections among requests; not for Workers. */
import { asQueueError, type Executor, isFatal, type ListCall, runList } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { maxBatch } from '../limits.ts'

/** For how long calls are gathered while others are under way. */
const gatherMillis = 2

/** Most statements of one kind for one queue at a time. More of them make smaller batches, and so more commits. */
const maxUnderWay = 4

/** Most characters of one joint statement's list, so that nobody waits for the megabytes of others. */
const maxLength = 1_048_576

/** How long a joint statement may wait for a lock. */
const patience = '50ms'

/** Most calls that wait for a lock at a time, each on a connection of its own. More of them leave fewer connections to everybody else. */
const maxWaiting = 3

interface Call {
  readonly list: ListCall
  readonly resolve: (rows: unknown[]) => void
  readonly reject: (error: unknown) => void
}

/** The calls of one kind for one queue. */
interface Lane {
  readonly key: string
  readonly gathered: Call[]
  gathering: boolean
  underWay: number
  /** Most calls of the next joint statement. */
  most: number
}

/** The executor, with the list calls of all its callers coalesced. Each statement of it must be a transaction of its own. */
export function coalescing(executor: Executor): Executor {
  const lanes = new Map<string, Lane>()
  let waiting = 0

  return {
    query: (text, values) => executor.query(text, values),
    callList: (list) =>
      new Promise((resolve, reject) => {
        const lane = laneOf(list)
        lane.gathered.push({ list, resolve, reject })
        if (lane.underWay === 0) void run(lane)
        else gather(lane)
      }),
  }

  function laneOf({ queue, values, text }: ListCall): Lane {
    const key = `${queue} ${JSON.stringify(values)} ${text}`
    const lane = lanes.get(key) ?? { key, gathered: [], gathering: false, underWay: 0, most: maxBatch }
    lanes.set(key, lane)
    return lane
  }

  function gather(lane: Lane): void {
    if (lane.gathering) return
    lane.gathering = true
    setTimeout(() => {
      lane.gathering = false
      if (lane.gathered.length > 0 && lane.underWay < maxUnderWay) void run(lane)
    }, gatherMillis)
  }

  /** Until nothing is left. */
  async function run(lane: Lane): Promise<void> {
    lane.underWay++
    while (lane.gathered.length > 0) await together(lane, takeFrom(lane))
    lane.underWay--
    if (lane.underWay === 0) lanes.delete(lane.key)
  }

  async function together(lane: Lane, calls: readonly Call[]): Promise<void> {
    const [{ list: first }] = calls as readonly [Call]
    try {
      const elements = calls.flatMap(({ list }) => list.elements)
      const rows = await runList(executor, { ...first, elements, patience })
      let start = 0
      for (const { list, resolve } of calls) {
        const end = start + list.elements.length
        resolve(rows.slice(start, end))
        start = end
      }
      lane.most = Math.min(lane.most * 2, maxBatch)
    } catch (error) {
      if (calls.length > 1 && isRefusal(error)) {
        lane.gathered.unshift(...calls)
        lane.most = 1
        while (lane.underWay < maxUnderWay && lane.gathered.length > 1) void run(lane)
      } else if (gaveUp(error)) {
        lane.most = 1
        for (const call of calls) void alone(call, error)
      } else {
        for (const { reject } of calls) reject(error)
      }
    }
  }

  /** Beside the lane: it may wait for a lock for long. */
  async function alone({ list, resolve, reject }: Call, cause: unknown): Promise<void> {
    if (waiting >= maxWaiting) return reject(tooManyWait(cause))
    waiting++
    await runList(executor, list).then(resolve, reject)
    waiting--
  }
}

/** The next calls, as many as may go together; at least one. */
function takeFrom({ gathered, most }: Lane): readonly Call[] {
  let count = 0
  let elements = 0
  let length = 0
  for (const { list } of gathered) {
    elements += list.elements.length
    for (const element of list.elements) length += element.length
    if (count > 0 && (count === most || elements > maxBatch || length > maxLength)) break
    count++
  }
  return gathered.splice(0, count)
}

/** Whether the database answered that it did nothing. Not so if it went away, or if what answered was something else: a pooler says of a session
 * that it lost, perhaps after the commit, what it likes (Supabase's: FATAL, XX000). */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error) || isFatal(error)) return false
  const meaning = asQueueError(error)
  if (meaning instanceof QueueError && meaning.code === 'database_unavailable') return false
  return /^(?!XX)[0-9A-Z]{5}$/.test(codeOf(error))
}

function tooManyWait(cause: unknown): QueueError {
  return new QueueError(
    'database_unavailable',
    'a transaction that is still open holds what this waits for (the same dedup id, or the message), and others wait already: ' +
      'nothing was changed, try again',
    { cause, retryAfterSeconds: 1 },
  )
}

/** Whether somebody else's lock was in the way. */
function gaveUp(error: unknown): boolean {
  return codeOf(error) === '55P03'
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
