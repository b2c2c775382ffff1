/* Where a command finds Postbag, in this order:
 *
 *   1. --url or POSTBAG_URL: a server.
 *   2. DATABASE_URL: no server needed. The same HTTP app runs in this process over that database, so verbs and errors are the same.
 *   3. http://127.0.0.1:8787 (or PORT), where "postbag dev" listens.
 *
 * Commands speak through the client library. Only where it would parse a body, and so not keep it byte for byte, they exchange texts
 * (exchange): the requests, retries and errors are the client's all the same. */
import { type Command, Option } from 'commander'
import { type Client, createClient } from '../client/client.ts'
import { type Answer, type Connection, connect, type Patience } from '../client/connection.ts'
import type { Effects } from '../client/effects.ts'
import { pathTo } from '../client/path.ts'
import { serverConfig, webhookSettings } from '../config.ts'
import { QueueError } from '../errors.ts'
import type { Problem } from '../wire.ts'
import { httpUrl } from './values.ts'

export interface ServerOptions {
  readonly url?: string
  readonly token?: string
}

export interface Server {
  readonly client: Client
  readonly connection: Connection
  /** A request (POST if it has a text) and its answer, parsed and as the text it came as.
   * @param path what follows /v1 */
  exchange<Data>(
    path: string,
    request: string | undefined,
    patience?: Patience,
  ): Promise<Answer<Data> & { text: string }>
}

/** Add the options that say where the server is. */
export function withServerOptions(command: Command): Command {
  return command
    .addOption(new Option('--url <url>', 'where the server is').env('POSTBAG_URL').argParser(httpUrl))
    .addOption(new Option('--token <token>', 'for a server that wants one').env('POSTBAG_TOKEN'))
}

/** The path of a queue, after /v1. */
export function queuePath(queue: string): string {
  return pathTo('queues', queue)
}

/** Find Postbag, do the work, and leave nothing open. */
export async function useServer(given: ServerOptions, work: (server: Server) => Promise<void>): Promise<void> {
  if (given.url) return work(serverOver({ url: given.url, token: given.token, fetch: fetchOrWhy }))

  const { databaseUrl, port } = serverConfig({ DATABASE_URL: process.env['DATABASE_URL'], PORT: process.env['PORT'] })
  if (databaseUrl === undefined) {
    const url = `http://127.0.0.1:${port}`
    try {
      return await work(serverOver({ url, token: given.token, fetch: fetchOrWhy }))
    } catch (error) {
      throw nothingListens(error, url)
    }
  }

  const inProcess = await startInProcess(databaseUrl)
  try {
    await work(serverOver({ url: 'http://localhost', fetch: inProcess.fetch, retries: 0 }))
  } finally {
    await inProcess.close()
  }
}

/** Like fetch, whose own error says only "fetch failed": throws why it did. */
async function fetchOrWhy(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (error) {
    const why = error instanceof Error ? error.cause : undefined
    throw (why instanceof AggregateError ? why.errors[0] : why) ?? error
  }
}

interface Way {
  readonly url: string
  readonly token?: string | undefined
  readonly fetch: Effects['fetch']
  /** None where the database is asked directly: somebody who waits wants to know. */
  readonly retries?: number
}

function serverOver(way: Way): Server {
  return {
    client: createClient(way),
    connection: connect(way),
    async exchange<Data>(path: string, request: string | undefined, patience?: Patience) {
      let text = ''
      const fetchText: Effects['fetch'] = async (url, init) => {
        const answer = await way.fetch(url, request === undefined ? init : { ...init, body: request })
        text = await answer.text()
        return new Response(text, answer)
      }
      const { call } = connect({ ...way, fetch: fetchText })
      const [method, body] = request === undefined ? (['GET', undefined] as const) : (['POST', {}] as const)
      return { ...(await call<Data>(method, path, body, patience)), text }
    },
  }
}

async function startInProcess(databaseUrl: string): Promise<{ fetch: Effects['fetch']; close: () => Promise<void> }> {
  // Loaded only where they are needed: they would double the time that every other command takes to start.
  const { createApp } = await import('../app.ts')
  const { connect: connectDatabase } = await import('../db/connect.ts')
  const { createPollHub } = await import('../wakeup/poll-hub.ts')
  const reasons = new Map<unknown, string>()
  const app = createApp({ access: { kind: 'open' }, webhooks: webhookSettings(process.env) }, (line) => {
    const { requestId, status, error, reason = status === 500 && error ? reasonOf(error) : undefined } = line
    if (reason !== undefined) reasons.set(requestId, String(reason))
  })
  const executor = connectDatabase(databaseUrl, { maxConnections: 4 })
  const hub = createPollHub({ executor })
  return {
    async fetch(url, init) {
      const answer = await app.fetch(new Request(url, init), { executor, hub })
      const requestId = answer.headers.get('x-request-id')
      const reason = reasons.get(requestId)
      reasons.delete(requestId)
      return reason === undefined ? answer : saying(reason, answer)
    },
    async close() {
      hub.close()
      await executor.end()
    },
  }
}

/** The first line of what a log says of an error (which quotes nothing of a message), without the name that Postgres's errors have. */
function reasonOf(logged: unknown): string {
  return (String(logged).split('\n', 1)[0] ?? '').replace(/^error: /i, '')
}

const codesOfAway = ['internal', 'database_unavailable']

/** The same answer with what only the log would say: here is none, and who asks may know it. */
async function saying(reason: string, answer: Response): Promise<Response> {
  const problem = (await answer.json()) as Problem
  return Response.json(
    codesOfAway.includes(problem.code) ? { ...problem, detail: reason, requestId: undefined } : problem,
    answer,
  )
}

function nothingListens(error: unknown, url: string): unknown {
  // With another cause something did answer there.
  if (!(error instanceof QueueError && error.code === 'network_error' && error.cause instanceof Error)) return error
  const message = `nothing answers at ${url}: start a server with "npx postbag dev", or set POSTBAG_URL or DATABASE_URL`
  return new QueueError('network_error', message, { cause: error })
}
