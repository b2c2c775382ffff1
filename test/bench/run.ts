/* npm run bench: figures as a table, and as JSON in bench.json. Own Postgres on disk with default durability. Contenders run in turn,
 * three rounds, medians; what counts is the ratio within one run, because machines are noisy.
 *
 *   npm run bench              about ten minutes
 *   npm run bench -- --quick   shorter rounds, rougher figures */
import { execFileSync } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startEmbedded } from '../../src/db/embedded.ts'
import { install } from '../../src/db/install.ts'
import { scratchFolder } from '../support/server.ts'
import { underHeldSnapshot } from './held-snapshot.ts'
import { httpSingleSends } from './http-send.ts'
import { measure, median } from './measure.ts'
import { type Contender, plainCycle, postbagCycle } from './sql-cycle.ts'

interface Figure {
  readonly scenario: string
  readonly contender: string
  /** Messages per second, one per round. */
  readonly rates: readonly number[]
  readonly p50Millis: number
  readonly p99Millis: number
  /** Median of the ratios to the scenario's first contender in the same round; of a held snapshot, end to start. */
  readonly ratio?: number
}

const { values: options } = parseArgs({ options: { quick: { type: 'boolean', default: false } } })
const seconds = options.quick ? 1 : 4
const rounds = 3
const connections = 8
const backlog = options.quick ? 20_000 : 200_000

const folder = await scratchFolder()
const server = await startEmbedded({ dataDir: folder, settings: { max_connections: '200' } })
const pool = new pg.Pool({ connectionString: server.url })
try {
  await install(pool)
  const durable = postbagCycle('postbag', 'bench')
  const againstPlain = [plainCycle, durable]
  const kinds = [
    durable,
    postbagCycle('relaxed durability', 'relaxed', { config: `, durability => 'relaxed'` }),
    postbagCycle('volatile', 'volatile', { config: `, durability => 'volatile'` }),
    postbagCycle('10,000 groups', 'few-groups', { groups: 10_000, backlog }),
    postbagCycle('100,000 groups', 'many-groups', { groups: 100_000, backlog }),
    postbagCycle('fair, 100 groups', 'fair', { config: `, group_mode => 'fair'`, groups: 100, backlog }),
    postbagCycle('all its limits', 'limited', {
      config: `, max_messages => 1000000, max_in_flight => 100000, rate => 1000000`,
    }),
  ]
  console.error(`preparing: ${backlog} messages wait in each queue with groups`)
  for (const contender of new Set([...againstPlain, ...kinds])) await contender.prepare(pool)

  const figures: Figure[] = []
  for (const batch of [1, 10, 100]) figures.push(...(await sqlCycles('SQL full cycle', againstPlain, batch)))
  for (const batch of [1, 10, 100]) figures.push(...(await sqlCycles('Kinds of queues', kinds, batch)))
  for (const contender of [postbagCycle('postbag', 'held'), plainCycle])
    figures.push(...(await heldSnapshot(contender)))
  figures.push(await httpSends())

  console.table(figures.map(toRow))
  const version = await pool.query('show server_version')
  await pool.end()
  const report = { ...(await circumstances(version.rows[0].server_version)), figures }
  await writeFile('bench.json', `${JSON.stringify(report, null, 2)}\n`)
  console.log('Written to bench.json.')
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}

async function sqlCycles(title: string, contenders: readonly Contender[], batch: number): Promise<Figure[]> {
  const scenario = `${title}, batch ${batch}, ${connections} connections`
  const runs = contenders.map((contender) => ({
    contender,
    rates: [] as number[],
    p50: [] as number[],
    p99: [] as number[],
  }))
  for (let round = 1; round <= rounds; round++) {
    for (const run of runs) {
      console.error(`${scenario}: ${run.contender.name}, round ${round} of ${rounds}`)
      const measured = await withClients((client) => run.contender.round(client, batch))
      run.rates.push(measured.rate)
      run.p50.push(measured.p50)
      run.p99.push(measured.p99)
    }
  }
  const [first] = runs
  return runs.map((run) => ({
    scenario,
    contender: run.contender.name,
    rates: run.rates,
    p50Millis: median(run.p50),
    p99Millis: median(run.p99),
    ...(first && run !== first && { ratio: median(run.rates.map((rate, n) => rate / (first.rates[n] ?? 0))) }),
  }))
}

async function withClients(round: (client: pg.Client) => Promise<number>) {
  const clients = Array.from({ length: connections }, () => new pg.Client(server.url))
  await Promise.all(clients.map((client) => client.connect()))
  try {
    return await measure(
      clients.map((client) => () => round(client)),
      { seconds },
    )
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

async function heldSnapshot(contender: Contender): Promise<Figure[]> {
  const minute = options.quick ? 12 : 60
  const scenario = `Held snapshot, ${minute} s, batch 10, ${connections} connections`
  console.error(`${scenario}: ${contender.name}`)
  if (contender !== plainCycle) await contender.prepare(pool)
  const { start, end } = await underHeldSnapshot(server.url, contender, { connections, seconds: minute, batch: 10 })
  return (['start', 'end'] as const).map((when) => {
    const measured = when === 'start' ? start : end
    return {
      scenario: `${scenario}: ${when}`,
      contender: contender.name,
      rates: [measured.rate],
      p50Millis: measured.p50,
      p99Millis: measured.p99,
      ...(when === 'end' && { ratio: end.rate / start.rate }),
    }
  })
}

async function httpSends(): Promise<Figure> {
  const scenario = 'HTTP single sends, 64 connections'
  console.error(scenario)
  const measured = await httpSingleSends(server.url, { connections: 64, seconds })
  return { scenario, contender: 'postbag', rates: [measured.rate], p50Millis: measured.p50, p99Millis: measured.p99 }
}

function toRow(figure: Figure) {
  const whole = (value: number) => Math.round(value)
  return {
    scenario: figure.scenario,
    contender: figure.contender,
    'msg/s (median)': whole(median(figure.rates)),
    range: `${whole(Math.min(...figure.rates))} – ${whole(Math.max(...figure.rates))}`,
    'p50 ms': Number(figure.p50Millis.toFixed(1)),
    'p99 ms': Number(figure.p99Millis.toFixed(1)),
    '× first': figure.ratio === undefined ? '' : Number(figure.ratio.toFixed(2)),
  }
}

async function circumstances(postgres: string) {
  return {
    commit: execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim(),
    date: new Date().toISOString(),
    postgres,
    node: process.version,
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) },
    settings: { durability: 'defaults (fsync and synchronous_commit on)', connections, seconds, rounds },
  }
}
