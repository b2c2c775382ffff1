/* What a scenario is given: databases of its own, sizes that fit the wanted length of the run, contenders measured in turn, and a place for
 * figures and verdicts. */
import pg from 'pg'
import { install } from '../../src/db/install.ts'
import { type Measured, median, medianRatio } from './measure.ts'

/** A file in scenarios/. */
export interface Scenario {
  readonly title: string
  /** What is measured and how, in a sentence or two. */
  readonly measures: string
  run(bench: Bench): Promise<void>
}

/** What one contender did in one part of a scenario. */
export interface Figure {
  readonly scenario: string
  readonly part: string
  readonly contender: string
  readonly unit: string
  /** One per round. */
  readonly values: readonly number[]
  readonly p50Millis?: number
  readonly p99Millis?: number
  /** Median of the ratios to the part's first contender in the same round. */
  readonly ratio?: number
}

/** One line of what must hold. */
export interface Verdict {
  readonly what: string
  readonly relation: keyof typeof relations
  readonly target: number
  readonly measured: number
  readonly held: boolean
}

const relations = {
  'at least': (measured: number, target: number) => measured >= target,
  'more than': (measured: number, target: number) => measured > target,
  'at most': (measured: number, target: number) => measured <= target,
  below: (measured: number, target: number) => measured < target,
}

export interface Runner {
  readonly name: string
  measure(): Promise<Measured>
}

export interface Database {
  readonly name: string
  readonly url: string
  /** For preparing; what is measured opens connections of its own. */
  readonly pool: pg.Pool
}

/** How long a run may take: whole for figures, quick for a look, tiny for seeing that the instrument works. */
const lengths = {
  full: { seconds: 1, counts: 1, rounds: 3 },
  quick: { seconds: 0.3, counts: 0.05, rounds: 3 },
  tiny: { seconds: 0.01, counts: 0.0002, rounds: 1 },
} as const

export type Length = keyof typeof lengths

export class Bench {
  readonly figures: Figure[] = []
  readonly verdicts: Verdict[] = []
  readonly length: Length
  readonly #serverUrl: string
  readonly #progress: (text: string) => void
  readonly #databases = new Map<string, Promise<Database>>()
  #template: Promise<string> | undefined
  #scenario = ''

  /** @param serverUrl any database of the server, as superuser. @param progress hears of each step. */
  constructor(serverUrl: string, length: Length, progress: (text: string) => void) {
    this.length = length
    this.#serverUrl = serverUrl
    this.#progress = progress
  }

  get rounds(): number {
    return lengths[this.length].rounds
  }

  /** So long a part of a full run takes in this one. */
  seconds(full: number): number {
    return full * lengths[this.length].seconds
  }

  /** So many of a full run are there in this one; at least `least`. */
  count(full: number, least = 1): number {
    return Math.max(least, Math.round(full * lengths[this.length].counts))
  }

  /** The variants that are measured: all, or the first where nothing but the instrument is tried. */
  variants<Variant>(all: readonly Variant[]): readonly Variant[] {
    return this.length === 'tiny' ? all.slice(0, 1) : all
  }

  say(step: string): void {
    this.#progress(`${this.#scenario}: ${step}`)
  }

  async run(name: string, scenario: Scenario): Promise<void> {
    this.#scenario = name
    this.say('begins')
    try {
      await scenario.run(this)
    } finally {
      await this.#dropDatabases((key) => !key.startsWith('shared_'))
    }
  }

  /** A database with Postbag in it, of this scenario only. @param fill is awaited once, when it is made. */
  database(name = 'main', fill?: (database: Database) => Promise<void>): Promise<Database> {
    return this.#madeOnce(`${this.#scenario}_${name}`, fill)
  }

  /** A database that other scenarios use too, because it takes long to fill. They must leave it as they found it. */
  sharedDatabase(name: string, fill: (database: Database) => Promise<void>): Promise<Database> {
    return this.#madeOnce(`shared_${name}`, fill)
  }

  /** Measure each contender in turn, round after round (A B A B), and note the figures. */
  async inTurn(part: string, runners: readonly Runner[], unit = 'msg/s'): Promise<readonly Measured[][]> {
    const results: Measured[][] = runners.map(() => [])
    for (let round = 1; round <= this.rounds; round++) {
      for (const [index, runner] of runners.entries()) {
        const measured = await runner.measure()
        results[index]?.push(measured)
        this.say(`${part}, round ${round} of ${this.rounds}: ${runner.name} ${Math.round(measured.rate)} ${unit}`)
      }
    }
    const first = rates(results[0])
    for (const [index, runner] of runners.entries()) {
      const own = results[index] ?? []
      this.note({
        part,
        contender: runner.name,
        unit,
        values: rates(own),
        ...timesOf(own),
        ...(index > 0 && { ratio: medianRatio(rates(own), first) }),
      })
    }
    return results
  }

  note(figure: Omit<Figure, 'scenario'>): void {
    this.figures.push({ scenario: this.#scenario, ...figure })
  }

  mustHold(what: string, relation: Verdict['relation'], target: number, measured: number): void {
    const held = relations[relation](measured, target)
    this.verdicts.push({ what, relation, target, measured, held })
    this.say(`${what}: ${measured.toFixed(2)}, ${relation} ${target}: ${held ? 'held' : 'NOT HELD'}`)
  }

  /** Drop every database. */
  end(): Promise<void> {
    return this.#dropDatabases(() => true)
  }

  #madeOnce(key: string, fill?: (database: Database) => Promise<void>): Promise<Database> {
    const known = this.#databases.get(key)
    if (known) return known
    const making = this.#make(key, fill)
    this.#databases.set(key, making)
    return making
  }

  async #make(key: string, fill?: (database: Database) => Promise<void>): Promise<Database> {
    this.#template ??= this.#makeTemplate()
    const name = `bench_${key.replaceAll('-', '_')}`
    await this.asAdmin(`create database ${name} template ${await this.#template}`)
    const database = { name, ...this.#open(name) }
    if (fill) {
      await fill(database)
      // What autovacuum and the checkpointer would else do while we measure.
      await database.pool.query('vacuum analyze')
      await database.pool.query('checkpoint')
    }
    return database
  }

  async #makeTemplate(): Promise<string> {
    const name = 'bench_template'
    await this.asAdmin(`create database ${name}`)
    const { pool } = this.#open(name)
    await install(pool)
    await pool.end()
    return name
  }

  #open(name: string): { url: string; pool: pg.Pool } {
    const url = this.#serverUrl.replace(/[^/]*$/, name)
    const pool = new pg.Pool({ connectionString: url, max: 8 })
    // A connection that dies idle (the server ends before us) is no news.
    pool.on('error', () => {})
    return { url, pool }
  }

  async #dropDatabases(which: (key: string) => boolean): Promise<void> {
    for (const [key, making] of this.#databases) {
      if (!which(key)) continue
      this.#databases.delete(key)
      const { name, pool } = await making
      await pool.end()
      await this.asAdmin(`drop database ${name} with (force)`)
    }
  }

  /** Run a statement that belongs to no database of a scenario. */
  async asAdmin(statement: string, values: unknown[] = []): Promise<pg.QueryResult> {
    const admin = new pg.Client(this.#serverUrl)
    await admin.connect()
    try {
      return await admin.query(statement, values)
    } finally {
      await admin.end()
    }
  }
}

function timesOf(results: readonly Measured[]): Pick<Figure, 'p50Millis' | 'p99Millis'> {
  if (results.some(({ p50, p99 }) => p50 === undefined || p99 === undefined)) return {}
  return {
    p50Millis: median(results.map(({ p50 = 0 }) => p50)),
    p99Millis: median(results.map(({ p99 = 0 }) => p99)),
  }
}

export function rates(results: readonly Measured[] = []): readonly number[] {
  return results.map(({ rate }) => rate)
}
