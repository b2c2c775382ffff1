/* Runs a Worker in workerd, the runtime of Cloudflare Workers, on this machine, with the settings of wrangler.toml.
 *
 * Before it stands a second Worker in the place of Cloudflare's front, which does two things that workerd's own HTTP server does not:
 *  - It reads a request to its end. (workerd resets the connection of a request that was answered unread, such as one too large.)
 *  - It notices that a client goes away. A request with the header x-leave-after-millis is abandoned after that time, which ends the
 *    Worker's request exactly as a closed connection does in production. */
import { readFileSync } from 'node:fs'
import { Miniflare } from 'miniflare'
import { bundle } from './bundle.ts'

export interface RunningWorker {
  /** Base address on 127.0.0.1, without a slash at the end. */
  readonly url: string
  readonly gzipBytes: number
  /** Fires the cron trigger, and waits for what it starts. */
  scheduled(): Promise<void>
  stop(): Promise<void>
}

export interface WorkerOptions {
  /** The Worker's text bindings. */
  readonly vars?: Readonly<Record<string, string>>
  /** Whether it has the Durable Object that listens, which wrangler.toml binds. Defaults to false. */
  readonly hub?: boolean
  /** Whether it has the one whose alarm delivers webhooks. Defaults to false. */
  readonly alarm?: boolean
  /** Gets each line that the Worker logs. Defaults to the terminal. */
  readonly onLog?: (line: string) => void
}

/** Bundle an entry and serve it. `databaseUrl` is what its Hyperdrive binding HYPERDRIVE connects to; undefined: it has none. */
export async function startWorker(
  entry: string,
  databaseUrl: string | undefined,
  { vars = {}, hub = false, alarm = false, onLog = console.log }: WorkerOptions = {},
): Promise<RunningWorker> {
  const { code, gzipBytes } = await bundle(entry)
  const workers = new Miniflare({
    host: '127.0.0.1',
    port: 0,
    handleStructuredLogs: ({ message }: { message: string }) => {
      onLog(message)
    },
    workers: [
      { name: 'front', modules: true, script: front, ...settings, serviceBindings: { POSTBAG: 'postbag' } },
      {
        name: 'postbag',
        modules: true,
        script: code,
        ...settings,
        ...(databaseUrl !== undefined && { hyperdrives: { HYPERDRIVE: databaseUrl } }),
        bindings: { ...vars },
        durableObjects: {
          ...(hub && { HUB: { className: 'WakeupHub', useSQLite: true } }),
          ...(alarm && { WEBHOOKS: { className: 'WebhookAlarm', useSQLite: true } }),
        },
      },
    ],
  })
  const url = await workers.ready
  return {
    url: url.origin,
    gzipBytes,
    async scheduled() {
      // (The types lack it: they do not know which events the Worker handles.)
      const worker = (await workers.getWorker('postbag')) as unknown as {
        scheduled(event: { cron: string }): Promise<{ outcome: string }>
      }
      const { outcome } = await worker.scheduled({ cron: '*/5 * * * *' })
      if (outcome !== 'ok') throw new Error(`the cron trigger ended with ${outcome}`)
    },
    stop: () => workers.dispose(),
  }
}

/** Send it a request, and go away after so many milliseconds without having waited for the answer. */
export async function leaveWorker(url: string, request: RequestInit, afterMillis: number): Promise<void> {
  const headers = { ...(request.headers as Record<string, string>), 'x-leave-after-millis': String(afterMillis) }
  const { status } = await fetch(url, { ...request, headers })
  if (status !== 204) throw new Error(`it was to be left after ${afterMillis} ms, but answered ${status} before`)
}

const front = `export default {
  async fetch(request, env) {
    const millis = request.headers.get('x-leave-after-millis')
    const bytes = await request.arrayBuffer()
    const unsized = () => new ReadableStream({ start: (stream) => (stream.enqueue(new Uint8Array(bytes)), stream.close()) })
    const body = !request.body ? null : request.headers.has('content-length') ? bytes : unsized()
    const inner = new Request(request.url, { method: request.method, headers: request.headers, body })
    if (millis === null) return env.POSTBAG.fetch(inner)
    const answer = env.POSTBAG.fetch(inner, { signal: AbortSignal.timeout(Number(millis)) })
    return answer.then((response) => response.text()).catch(() => new Response(null, { status: 204 }))
  },
}`

const toml = readFileSync(new URL('../../wrangler.toml', import.meta.url), 'utf8')
const settings = {
  compatibilityDate: JSON.parse(setting('compatibility_date')) as string,
  compatibilityFlags: JSON.parse(setting('compatibility_flags')) as string[],
}

/** TOML writes strings and lists of strings as JSON does. */
function setting(name: string): string {
  return new RegExp(`^${name} = (.+)$`, 'm').exec(toml)?.[1] ?? ''
}
