/* What makes attempts in a test: a transport in this process, or one in another runtime that is asked over HTTP. */
import { resolveByDns } from '../../src/webhooks/node/addresses.ts'
import { createTransport, type TransportOptions } from '../../src/webhooks/node/transport.ts'
import type { AttemptRequest, Outcome } from '../../src/webhooks/outcome.ts'

export interface Target {
  attempt(request: Omit<AttemptRequest, 'signal' | 'now'>): Promise<Outcome>
  /** Undefined where the platform does not tell. */
  sockets?(): Promise<{ readonly busy: number; readonly idle: number }>
  stop(): Promise<unknown>
}

export interface TargetOptions {
  /** Address and port of the name server. Defaults to resolving as the machine does. */
  readonly nameServer?: string
  /** The certificate that is trusted. */
  readonly ca?: string
  readonly bounds?: Pick<TransportOptions, 'maxAttempts' | 'maxAttemptsPerHost' | 'maxIdle' | 'idleMillis'>
}

/** In this process. */
export async function startHere({ nameServer, ca, bounds }: TargetOptions = {}): Promise<Target> {
  const resolve = nameServer !== undefined && { resolve: resolveByDns([nameServer]) }
  const transport = createTransport({ ...resolve, ...(ca !== undefined && { ca }), ...bounds })
  return {
    attempt: transport.attempt,
    sockets: async () => transport.sockets(),
    stop: async () => transport.close(),
  }
}

/** Of a program that takes attempts as JSON, and says under /sockets how many it has (test/runtimes/attempts.ts). */
export function targetAt(url: string, hasSockets: boolean, stop: () => Promise<unknown>): Target {
  const ask = async (path: string, body?: object) => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body ?? {}) })
    if (answer.status !== 200) throw new Error(await answer.text())
    return answer.json()
  }
  return {
    attempt: (request) => ask('/', request) as Promise<Outcome>,
    ...(hasSockets && { sockets: () => ask('/sockets') as Promise<{ busy: number; idle: number }> }),
    stop,
  }
}
