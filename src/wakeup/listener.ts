/* The connection on which the database tells this process of messages. One per process; opened when somebody waits, opened again when it
 * is lost (at once, then after a pause that grows from 50 ms to a second, until it was of use).
 *
 *  1. It is believed only when it has been tried: a notification sent through the pool must come back on it within 2 s of its commit. Behind a pooler
 *     that gives each transaction another session, none comes, and then nothing may be locked there either. (Tried again every minute.) The first
 *     trial is made at the start of the process, so that it can say at once how it works; it holds up nobody, and what it opened is closed
 *     again if nobody waits yet: a database that sleeps when nobody is connected is not kept awake.
 *  2. A peer that is gone without a word is noticed by TCP's own probes (after 10 s without traffic, one a second, ten times), and where something
 *     in between still answers those, by pings: while somebody waits, every 15 s. They are messages of the protocol, no statements: nobody
 *     is asked anything while nothing happens.
 *  3. Whatever fails on it ends it, and with it its locks: what a new one is to watch is said anew. */
import pg from 'pg'
import type { Executor } from '../db/call.ts'
import type { Prospect } from './prospect.ts'

export interface Watched extends Prospect {
  /** The id of a transaction that began to watch. */
  readonly fence: string
  /** Who was open then, and may not have seen it. */
  readonly snapshot: string
}

export interface ListenerOptions {
  readonly url: string
  /** What notifies it on trial. */
  readonly executor: Executor
  /** How often it is pinged while somebody waits, in milliseconds; an answer may take a third of that. */
  readonly pingMillis: number
  /** Hears of a change of mode. */
  readonly say: (mode: string) => void
}

export interface ListenerEvents {
  isAwaited(): boolean
  onReady(): void
  onLost(): void
  onNotification(queue: string): void
}

export interface Listener {
  readonly isReady: boolean
  /** What it does or why it does not, in words. */
  readonly mode: string
  /** Find out whether it works, and close it again unless it is to be open by then. */
  tryOut(): void
  /** Connect, if it is not done or being done. */
  open(): void
  /** @param costly where it is too early to find out anew what was expensive: then it may be worth looking now, who knows */
  watch(queues: readonly string[], costly: readonly string[]): Promise<readonly Watched[]>
  unwatch(queues: readonly string[]): Promise<unknown>
  prospects(queues: readonly string[]): Promise<readonly Prospect[]>
  /** Which transactions are open now. */
  snapshot(): Promise<string>
  close(): Promise<void>
}

const trialMillis = 2000
const trialPauseMillis = 60_000
const shortestPauseMillis = 50
const longestPauseMillis = 1000
/** Longer than any of its statements takes. */
const statementMillis = 10_000
const farewellMillis = 1000

const listening = 'listen: a notification to itself arrived'
const atRest = 'listen, when somebody waits: a notification to itself arrived'
const unheard = `a notification to itself did not arrive within ${trialMillis / 1000} s: is a transaction pooler in between? Set DATABASE_DIRECT_URL`

/* A server's own limits must not end what is to stay; and with a snapshot taken before it watches it would not see what came before. Said only
 * once it is known that the session is ours: behind a transaction pooler it is everybody's, and would stay like that. */
const settings = `set statement_timeout = 0; set lock_timeout = 0; set idle_session_timeout = 0;
  set default_transaction_isolation = 'read committed'`

export function createListener({ url, executor, pingMillis, say }: ListenerOptions, events: ListenerEvents): Listener {
  let mode = 'not known yet: it is being tried whether a notification arrives'
  let client: pg.Client | undefined
  let isReady = false
  let isWanted = false
  let pauseMillis = 0
  let statements: Promise<unknown> = Promise.resolve()
  let timer: ReturnType<typeof setTimeout> | undefined
  let pingTimer: ReturnType<typeof setTimeout> | undefined

  function become(next: string): void {
    if (next === mode) return
    mode = next
    say(mode)
  }

  async function connect(): Promise<void> {
    const made = new pg.Client({
      connectionString: url,
      application_name: 'postbag listen',
      connectionTimeoutMillis: 5000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      query_timeout: statementMillis,
    })
    client = made
    made.on('error', (error) => lose(made, error.message))
    made.on('end', () => lose(made, 'the connection was closed'))
    made.on('notification', ({ payload = '' }) => isReady && events.onNotification(payload))
    try {
      await made.connect()
      await made.query('listen postbag')
      const isHeard = await hears(made)
      if (client !== made) return
      await made.query(isHeard ? settings : 'unlisten postbag')
      if (client !== made) return
      if (!isHeard) {
        lose(made, unheard)
        if (isWanted) retryIn(trialPauseMillis)
        return
      }
    } catch (error) {
      return lose(made, error instanceof Error ? error.message : String(error))
    }
    if (!isWanted) {
      client = undefined
      become(atRest)
      await leave(made)
      return
    }
    isReady = true
    statements = Promise.resolve()
    become(listening)
    pingLater(made)
    events.onReady()
  }

  function pingLater(made: pg.Client): void {
    clearTimeout(pingTimer)
    pingTimer = setTimeout(async () => {
      if (events.isAwaited()) await run(() => ping(made, pingMillis / 3)).catch(() => {})
      if (client === made) pingLater(made)
    }, pingMillis)
  }

  /** Whether what is notified through the pool comes here. */
  async function hears(made: pg.Client): Promise<boolean> {
    const token = `? ${crypto.randomUUID()}`
    const trial = Promise.withResolvers<boolean>()
    const hear = ({ payload }: pg.Notification) => payload === token && trial.resolve(true)
    made.on('notification', hear)
    let patience: ReturnType<typeof setTimeout> | undefined
    try {
      // (The pool may have much to do before.)
      await executor.query(`select pg_notify('postbag', $1)`, [token])
      patience = setTimeout(() => trial.resolve(false), trialMillis)
      return await trial.promise
    } finally {
      clearTimeout(patience)
      made.off('notification', hear)
    }
  }

  function lose(lost: pg.Client, reason: string): void {
    if (client !== lost) return
    const wasReady = isReady
    client = undefined
    isReady = false
    clearTimeout(pingTimer)
    void leave(lost)
    become(`poll: ${reason}`)
    if (!isWanted) return
    retryIn(pauseMillis)
    pauseMillis = Math.min(Math.max(pauseMillis * 2, shortestPauseMillis), longestPauseMillis)
    if (wasReady) events.onLost()
  }

  function retryIn(millis: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => {
      timer = undefined
      void connect()
    }, millis)
  }

  /** One after the other; what was meant for a connection that is lost meanwhile is not said on the next. */
  function run<Result>(say: (used: pg.Client) => Promise<Result>): Promise<Result> {
    const meant = client
    const result = statements.then(() => runOn(meant, say))
    statements = result.catch(() => {})
    return result
  }

  async function runOn<Result>(
    used: pg.Client | undefined,
    say: (used: pg.Client) => Promise<Result>,
  ): Promise<Result> {
    if (!used || used !== client || !isReady) throw new Error('the connection is lost')
    try {
      const result = await say(used)
      pauseMillis = 0
      return result
    } catch (error) {
      lose(used, error instanceof Error ? error.message : String(error))
      throw error
    }
  }

  function ask<Row>(text: string, values: unknown[]): Promise<Row[]> {
    return run(async (used) => (await used.query(text, values)).rows as Row[])
  }

  return {
    get isReady() {
      return isReady
    },
    get mode() {
      return mode
    },
    tryOut() {
      if (!client) void connect()
    },
    open() {
      if (isWanted) return
      isWanted = true
      pauseMillis = 0
      if (!client) void connect()
    },
    watch: (queues, costly) => ask<Watched>('select * from postbag.watch($1, $2)', [queues, costly]),
    unwatch: (queues) => ask('select postbag.unwatch($1)', [queues]),
    prospects: (queues) => ask<Prospect>('select * from postbag.prospects($1)', [queues]),
    async snapshot() {
      const [row] = await ask<{ snapshot: string }>('select pg_current_snapshot()::text as snapshot', [])
      return row?.snapshot ?? ''
    },
    async close() {
      isWanted = false
      clearTimeout(timer)
      clearTimeout(pingTimer)
      const closing = client
      client = undefined
      if (isReady) mode = atRest
      isReady = false
      if (closing) await leave(closing)
    },
  }
}

/** Resolves when the server says that it is ready, which it is asked without a statement: nothing runs, nothing is counted. */
function ping(client: pg.Client, patienceMillis: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const sync = {
      // (Set by pg: it ends the clock of the time-out.)
      callback: () => {},
      submit: (connection: pg.Connection) => connection.sync(),
      handleReadyForQuery() {
        sync.callback()
        resolve()
      },
      handleError: () => reject(new Error(`no answer to a ping within ${patienceMillis / 1000} s`)),
      query_timeout: patienceMillis,
    }
    client.query(sync)
  })
}

/** Close a connection; one that does not answer any more is cut. */
async function leave(client: pg.Client): Promise<void> {
  const impatience = setTimeout(() => client.connection.stream.destroy(), farewellMillis)
  await client.end().catch(() => {})
  clearTimeout(impatience)
}
