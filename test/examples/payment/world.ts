/* Databases of their own with one payment at a time, a provider, and consumers that are stopped at a step: killed, or robbed of all their
 * backends. What is asked of them is always the same: a fresh consumer comes after, and then the payment has been made exactly once. */
import assert from 'node:assert/strict'
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { after } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { books } from '../../../examples/payment/books.ts'
import { bundlePrograms } from '../../runtimes/consumer-bundle.ts'
import { createDatabase } from '../../support/database.ts'
import { on, receipts } from '../../support/sql-verbs.ts'
import { until } from '../../support/until.ts'
import type { Ran, Run } from './runs.ts'

const root = new URL('../../../', import.meta.url)
const preloaded = ['--import', new URL('steps.ts', import.meta.url).href]
const queue = 'example-payments'
const children = new Set<ChildProcess>()
/** The consumers as they are deployed: bundled, so that their start is short. */
const folder = await mkdtemp(join(tmpdir(), 'postbag-payment-'))
const consumers = ['same-database', 'inbox', 'provider'].map((name) => `examples/payment/${name}.ts`)
const careless = ['acks-after', 'acks-before'].map((name) => `test/examples/payment/${name}.ts`)
await bundlePrograms(
  [...consumers, ...careless].map((file) => new URL(file, root)),
  folder,
)
after(async () => {
  await Promise.all([...children].map(ended))
  await rm(folder, { recursive: true })
})

/** What became of one payment. */
export interface Outcome {
  /** The step at which its first consumer was stopped; undefined if that one came to its end. */
  readonly stoppedAt: string | undefined
  readonly booked: number
  readonly balance: number
  /** Messages that are left, in whatever state. */
  readonly left: number
  /** Requests that the provider has charged. */
  readonly charged: number
}

export interface World {
  /** A payment whose first consumer kills itself at that step. */
  killed(consumer: string, step: number): Promise<Outcome>
  /** A payment whose first consumer loses all its backends at that step. */
  cutOff(consumer: string, step: number): Promise<Outcome>
}

/** The address of a provider of the world's own; it runs until the test file ends. */
async function startProvider(): Promise<string> {
  const file = fileURLToPath(new URL('examples/payment/provider-server.ts', root))
  const provider = spawn(process.execPath, [file], { env: { ...process.env, PORT: '0' } })
  children.add(provider)
  const [url] = await once(createInterface(provider.stdout), 'line')
  return url
}

export async function createWorld(name: string): Promise<World> {
  const [queueDatabase, ledgerDatabase, providerUrl] = await Promise.all([
    createDatabase(),
    createDatabase(),
    startProvider(),
  ])
  const { pool } = queueDatabase
  for (const database of [queueDatabase, ledgerDatabase]) await database.pool.query(books)
  await pool.query('select name from postbag.create_queue($1)', [queue])
  const environment = {
    ...process.env,
    DATABASE_URL: queueDatabase.url,
    LEDGER_URL: ledgerDatabase.url,
    PROVIDER_URL: providerUrl,
    PGAPPNAME: name,
    NODE_COMPILE_CACHE: join(folder, 'compiled'),
  }
  const warm = fork(new URL('runs.ts', import.meta.url), {
    env: environment,
    execArgv: preloaded,
    stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'ipc'],
  })
  children.add(warm)
  let account = 0

  async function prepare(): Promise<void> {
    account++
    for (const { pool } of [queueDatabase, ledgerDatabase])
      await pool.query('insert into example_balance values ($1, 0)', [account])
    await on(pool, queue).send({ account, amount: 5 })
  }

  async function runWarm(consumer: string, step: number): Promise<Ran> {
    const gate = warm.stdio[3] as Duplex
    const standsStill = () => endSessions().then(() => gate.write('.'))
    gate.once('data', standsStill)
    warm.send({ url: pathToFileURL(join(folder, `${consumer}.mjs`)).href, step } satisfies Run)
    const [ran] = (await once(warm, 'message')) as [Ran]
    gate.off('data', standsStill)
    return ran
  }

  /** End the sessions of the consumers, and wait until they are gone. */
  async function endSessions(): Promise<void> {
    await pool.query('select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = $1', [
      name,
    ])
  }

  async function finish(consumer: string, stoppedAt: string | undefined): Promise<Outcome> {
    // (A session whose process is dead does what it was told last, and ends.)
    await until('the end of its sessions', async () => {
      const { rows } = await pool.query('select from pg_stat_activity where application_name = $1', [name])
      return rows.length === 0 || undefined
    })
    await endLease()
    const { error } = await runWarm(consumer, 0)
    assert.equal(error, undefined)
    return { stoppedAt, ...(await outcome()) }
  }

  /** The lease of who was stopped is over: somebody gets the message an hour later, and gives it back now. */
  async function endLease(): Promise<void> {
    const { receive, nack } = on(pool, queue)
    const received = await receive(1, { now: new Date(Date.now() + 3_600_000) })
    if (received.length > 0) assert.deepEqual(await nack(receipts(received), { delay: '0 s' }), ['ok'])
  }

  async function outcome(): Promise<Omit<Outcome, 'stoppedAt'>> {
    const sums = `select (select count(*)::integer from example_ledger where account = $1) as booked,
      (select amount from example_balance where account = $1) as balance`
    const [here, there] = await Promise.all(
      [queueDatabase, ledgerDatabase].map(async ({ pool }) => (await pool.query(sums, [account])).rows[0]),
    )
    const { charges } = (await (await fetch(`${providerUrl}/charges`)).json()) as { charges: { request: string }[] }
    const charged = charges.filter(({ request }) => JSON.parse(request).account === account)
    return {
      booked: here.booked + there.booked,
      balance: here.balance + there.balance,
      left: (await on(pool, queue).peek()).length,
      charged: charged.length,
    }
  }

  return {
    async killed(consumer, step) {
      await prepare()
      const child = spawn(process.execPath, [...preloaded, join(folder, `${consumer}.mjs`)], {
        env: { ...environment, STOP_AT: String(step) },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const [said, [code, signal]] = await Promise.all([text(child.stderr), once(child, 'exit')])
      if (signal !== 'SIGKILL' && code !== 0) throw new Error(`${consumer} ended with ${code}: ${said}`)
      return finish(consumer, signal === 'SIGKILL' ? said.trim() : undefined)
    },
    async cutOff(consumer, step) {
      await prepare()
      const { stoppedAt } = await runWarm(consumer, step)
      await endSessions()
      return finish(consumer, stoppedAt)
    },
  }
}

/** Every step: 1, 2, 3 … in each world whichever is next, until a consumer comes to its end. The outcomes are in that order. */
export async function atEveryStep(
  worlds: readonly World[],
  stop: (world: World, step: number) => Promise<Outcome>,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  let next = 1
  let isOver = false
  await Promise.all(
    worlds.map(async (world) => {
      while (!isOver) {
        const step = next++
        const outcome = await stop(world, step)
        outcomes[step - 1] = outcome
        if (outcome.stoppedAt === undefined) isOver = true
      }
    }),
  )
  return outcomes
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill()
  await exit
}
