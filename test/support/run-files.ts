/* Runs test files, each as a process of its own, several at a time, and reports them one after the other. The files are begun and reported
 * in the order of the list; one begins whenever another has ended, so a list that has the long ones first leaves none to run on alone. */
import { resolve } from 'node:path'
import { PassThrough } from 'node:stream'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'

export interface TestFile {
  /** From `cwd`. */
  readonly path: string
  /** What the report calls it. */
  readonly title: string
  readonly env: NodeJS.ProcessEnv
}

export interface Outcome {
  readonly passed: number
  readonly failed: number
  /** How long each file took, in seconds, the longest first. */
  readonly durations: readonly (readonly [title: string, seconds: number])[]
}

export interface RunOptions {
  /** Where each file is run. */
  readonly cwd: string
  /** How many files run at once. */
  readonly concurrency: number
  readonly signal: AbortSignal
}

/** Of one test, in milliseconds. */
const timeout = 120_000

/** A file, and what its run says, kept until those before it are reported. */
interface Run {
  readonly file: TestFile
  readonly events: PassThrough
}

/** Run them; the report goes to standard output. */
export async function runFiles(files: readonly TestFile[], options: RunOptions): Promise<Outcome> {
  const durations: [title: string, seconds: number][] = []
  const runs = files.map((file): Run => ({ file, events: new PassThrough({ objectMode: true, highWaterMark: 1e6 }) }))
  const waiting = runs.values()
  const runInTurn = async () => {
    for (const { file, events } of waiting) {
      const started = performance.now()
      if (options.signal.aborted) events.end()
      else await runOne(file, events, options)
      durations.push([file.title, (performance.now() - started) / 1000])
    }
  }
  const hands = Array.from({ length: options.concurrency }, runInTurn)
  const [count] = await Promise.all([report(runs, options.cwd), ...hands])
  return { ...count, durations: durations.sort(([, one], [, other]) => other - one) }
}

function runOne({ path, env }: TestFile, events: PassThrough, { cwd, signal }: RunOptions): Promise<void> {
  const stream = run({ cwd, files: [path], timeout, signal, env })
  stream.pipe(events)
  return new Promise((done, broken) => stream.once('end', done).once('error', broken))
}

async function report(runs: readonly Run[], cwd: string): Promise<Pick<Outcome, 'passed' | 'failed'>> {
  const text = spec()
  // (Not a pipe, which would hold the text back for ever when whoever reads it has gone away.)
  text.on('data', (chunk) => process.stdout.write(chunk))
  const count = { passed: 0, failed: 0 }
  for (const { file, events } of runs) {
    text.write(note(file.title))
    for await (const event of events as AsyncIterable<TestEvent>) {
      // A file without a single test is reported as one test that passed, named like the file.
      const isEmpty = event.type === 'test:pass' && event.data.file && resolve(cwd, event.data.name) === event.data.file
      if (isEmpty) text.write(note(`✖ ${file.title} has no test`))
      if (isEmpty || isFailure(event)) count.failed++
      else if (isSuccess(event)) count.passed++
      if (!isTotal(event)) text.write(event)
    }
  }
  await new Promise((done, broken) => text.once('end', done).once('error', broken).end())
  return count
}

function note(message: string): TestEvent {
  return { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } }
}

function isSuccess({ type, data }: TestEvent): boolean {
  return type === 'test:pass' && data.details.type !== 'suite' && !data.skip && !data.todo
}

/** A suite fails with its tests, which are counted; on its own only when a hook failed. */
function isFailure({ type, data }: TestEvent): boolean {
  if (type !== 'test:fail' || data.todo) return false
  const cause = data.details.error as Error & { failureType?: string }
  return !(data.details.type === 'suite' && cause.failureType === 'subtestsFailed')
}

/** What is said of a run as a whole, which is one file. */
function isTotal({ type, data }: TestEvent): boolean {
  return type === 'test:summary' || (type === 'test:diagnostic' && data.file === undefined)
}
