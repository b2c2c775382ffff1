/* What can be seen of a server from outside, without a token: that it answers, that its database does, and how receives wait. */
import { QueueError } from '../../errors.ts'
import { type Finding, hint, ok, problem, type Remark } from './finding.ts'

const patienceMillis = 10_000

interface Health {
  readonly wakeUp?: string
}

interface Readiness {
  readonly database?: {
    readonly status?: string
    readonly schemaVersion?: number
    readonly millis?: number
    readonly detail?: string
  }
}

/** @param databaseToo whether the database is looked at besides
 * @throws QueueError network_error if it is the only thing to look at, and does not answer. */
export async function* examineServer(url: string, databaseToo: boolean): AsyncGenerator<Finding> {
  try {
    yield* fromOutside(url)
  } catch (error) {
    if (!databaseToo) throw error
    yield finding(problem(`${(error as Error).message}.`, 'See that it runs, and that the address is right.'))
  }
  if (databaseToo) return
  yield finding(hint('Everything else can be seen in the database only.', 'DATABASE_URL=postgres://… postbag doctor'))
}

async function* fromOutside(url: string): AsyncGenerator<Finding> {
  const health = await ask<Health>(url, '/healthz')
  yield finding(ok(`It answers. How it learns of messages: ${health.wakeUp ?? 'it does not say'}.`))

  const { database } = await ask<Readiness>(url, '/readyz')
  yield finding(
    database?.status === 'ok'
      ? ok(`Its database answers within ${database.millis} ms, and is at migration ${database.schemaVersion}.`)
      : problem(
          `It does not reach its database: ${database?.detail ?? 'it does not say why'}.`,
          'See that the database runs, and what DATABASE_URL the server has.',
        ),
  )
}

function finding(remark: Remark): Finding {
  return { topic: 'server', ...remark }
}

async function ask<Answer>(url: string, path: string): Promise<Answer> {
  const address = url.replace(/\/*$/, path)
  try {
    const answer = await fetch(address, { signal: AbortSignal.timeout(patienceMillis) })
    return (await answer.json()) as Answer
  } catch (error) {
    const { cause, message } = error as Error
    const why = error instanceof SyntaxError ? 'it is no Postbag' : cause instanceof Error ? cause.message : message
    throw new QueueError('network_error', `${address} does not answer as it should: ${why}`, { cause: error })
  }
}
