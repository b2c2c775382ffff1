/* Whether LISTEN works where it would happen: on DATABASE_DIRECT_URL, or else on DATABASE_URL. Not asked but tried: one connection
 * listens, Postbag's own notifies. Behind a pooler that gives a connection away after each transaction the notification reaches nobody,
 * or somebody else. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { ok, type Patient, problem, type Remark, type Topic, warning } from './finding.ts'

interface Identity {
  readonly database: string
  readonly started: string
}

const whoAreYou =
  'select current_database() as database, extract(epoch from pg_postmaster_start_time())::text as started'

export const listen: Topic = {
  name: 'listen',
  async look(patient) {
    const { databaseUrl, directUrl } = patient
    let client: pg.Client
    try {
      client = await open(directUrl ?? databaseUrl)
    } catch (error) {
      if (directUrl === undefined) throw error
      return [
        problem(
          `DATABASE_DIRECT_URL cannot be reached: ${(error as Error).message}.`,
          'Correct it; or unset it, if DATABASE_URL is a direct one.',
        ),
      ]
    }
    try {
      return [await attempt(client, patient)]
    } finally {
      await client.end().catch(() => {})
    }
  },
}

async function open(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5000,
    application_name: 'postbag doctor',
  })
  // It may be lost meanwhile: then nothing is heard, which is what counts.
  client.on('error', () => {})
  await client.connect()
  return client
}

async function attempt(listener: pg.Client, { ask, directUrl, databaseUrl, notifyMillis }: Patient): Promise<Remark> {
  const name = directUrl === undefined ? 'DATABASE_URL' : 'DATABASE_DIRECT_URL'
  const channel = `postbag_doctor_${randomUUID()}`
  const heard = new Promise<void>((resolve) => listener.once('notification', () => resolve()))
  const { rows } = await listener.query<Identity>(whoAreYou)
  try {
    await listener.query(`listen "${channel}"`)
  } catch (error) {
    return warning(`${name} takes no LISTEN: ${(error as Error).message}.`, adviceFor(directUrl ?? databaseUrl))
  }
  const [there] = await ask<Identity>(`${whoAreYou} from pg_notify($1, '')`, [channel])

  if (rows[0]?.database !== there?.database || rows[0]?.started !== there?.started) {
    return problem(
      'DATABASE_DIRECT_URL leads to another database than DATABASE_URL.',
      'Both must name the same database of the same server, one of them without a pooler in between.',
    )
  }
  const late = AbortSignal.timeout(notifyMillis)
  const missed = new Promise<boolean>((resolve) => late.addEventListener('abort', () => resolve(false)))
  if (await Promise.race([heard.then(() => true), missed])) {
    return ok(`LISTEN works on ${name}: a notification arrived.`)
  }
  return warning(
    `LISTEN does not work on ${name}: a notification did not arrive within ${notifyMillis / 1000} s, as behind a transaction pooler.`,
    adviceFor(directUrl ?? databaseUrl),
  )
}

/** Where the well-known poolers have their direct address. Until then waiting receives poll. */
function adviceFor(url: string): string {
  const { hostname = '', port } = URL.parse(url) ?? {}
  const where = hostname.includes('-pooler.')
    ? `the same with the host ${hostname.replace('-pooler.', '.')}`
    : port === '6543'
      ? 'the same with port 5432'
      : 'a connection string of the database itself, not of its pooler'
  return `Set DATABASE_DIRECT_URL: ${where}. Until then waiting receives can only poll.`
}
