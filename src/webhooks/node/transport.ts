/* Attempts over sockets, for Node, Deno and Bun: each connects only to an address that was checked. Connections are kept for the next
 * attempt to the same address and name, within bounds. */
import { type AgentOptions, Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { AttemptFailure, attemptBy, type Sending, type Sent } from '../attempt.ts'
import type { Attempt } from '../outcome.ts'
import { createSlots } from '../slots.ts'
import { addressesOf, type Resolve } from './addresses.ts'
import { type Exchange, exchange, type Way } from './exchange.ts'
import { failureOf } from './failures.ts'

export interface TransportOptions {
  /** Most attempts under way at once. One more is answered `busy`. Defaults to 2048, as many as a deliverer makes (places.ts). */
  readonly maxAttempts?: number
  /** Of these, most to one host and port. Defaults to a quarter of them. */
  readonly maxAttemptsPerHost?: number
  /** Most connections that are kept for the next attempt, of each of http and https. Defaults to 64. */
  readonly maxIdle?: number
  /** How long they are kept, in milliseconds. Defaults to 4000: most servers close after 5 s, and who closes first knows it. */
  readonly idleMillis?: number
  /** Defaults to asking the machine's name servers; if the policy allows private addresses, to resolving as the machine does. */
  readonly resolve?: Resolve
  /** Certificates (PEM) to trust instead of those of the runtime. */
  readonly ca?: string
}

export interface Transport {
  readonly attempt: Attempt
  /** Connections in use, and kept for the next attempt. */
  sockets(): { readonly busy: number; readonly idle: number }
  /** Close the connections that are kept. What is under way is ended by its own signal. */
  close(): void
}

export function createTransport(options: TransportOptions = {}): Transport {
  const {
    maxAttempts = 2048,
    maxAttemptsPerHost = Math.ceil(maxAttempts / 4),
    maxIdle = 64,
    idleMillis = 4000,
  } = options
  const slots = createSlots({ total: maxAttempts, perHost: maxAttemptsPerHost })
  const keeping = agentsOf({ keepAlive: true, timeout: idleMillis })
  const fresh = agentsOf({ keepAlive: false })
  const all = [...Object.values(keeping), ...Object.values(fresh)]
  for (const agent of Object.values(keeping)) keepFew(agent, maxIdle)

  async function send(sending: Sending): Promise<Sent> {
    const { url } = sending
    const giveBack = slots.take(url.authority)
    if (!giveBack) throw new AttemptFailure('busy', `too many attempts are under way, in all or to ${url.authority}`)
    try {
      const addresses = await addressesOf(sending, options.resolve)
      return await overFirst(sending, addresses)
    } finally {
      giveBack()
    }
  }

  /** Over the first address that takes a connection. Each but the last has a share of the time for that. */
  async function overFirst(sending: Sending, addresses: readonly string[]): Promise<Sent> {
    const scheme = sending.url.isSecure ? 'https' : 'http'
    const share = Math.ceil(sending.timeoutMillis / addresses.length)
    for (const [at, address] of addresses.entries()) {
      const isLast = at === addresses.length - 1
      const way: Way = { address, agent: keeping[scheme], ca: options.ca, connectMillis: isLast ? undefined : share }
      const end = await exchange(sending, way)
      if (end.kind === 'stale') {
        const again = await exchange(sending, { ...way, agent: fresh[scheme] })
        return sentBy({ ...again, isResent: true })
      }
      if (end.kind !== 'unconnected' || isLast || sending.signal.aborted) return sentBy(end)
    }
    throw new AttemptFailure('dns', `${sending.url.host} has no address`)
  }

  const counted = (kind: 'sockets' | 'freeSockets') => all.reduce((sum, agent) => sum + count(agent[kind]), 0)
  return {
    attempt: attemptBy(send, failureOf),
    sockets: () => ({ busy: counted('sockets'), idle: counted('freeSockets') }),
    close() {
      for (const agent of all) agent.destroy()
    },
  }
}

/** @throws AttemptFailure */
function sentBy(end: Exchange): Sent {
  if (end.kind === 'answered') return end
  throw new AttemptFailure(end.failure.error, end.failure.message, end.isResent)
}

/** With no proxy, whatever the environment says (which Deno would follow): the check is of what is connected to. */
function agentsOf(options: AgentOptions): { readonly http: HttpAgent; readonly https: HttpsAgent } {
  const direct = { ...options, proxyEnv: {} }
  return { http: new HttpAgent(direct), https: new HttpsAgent(direct) }
}

/** Node bounds what is kept per host only (and `maxTotalSockets` would have attempts wait for kept connections to others to end). */
function keepFew(agent: HttpAgent, maxIdle: number): void {
  const keep = agent.keepSocketAlive.bind(agent)
  agent.keepSocketAlive = (socket) => count(agent.freeSockets) < maxIdle && keep(socket)
}

function count(sockets: NodeJS.ReadOnlyDict<readonly unknown[]>): number {
  return Object.values(sockets).reduce((sum, list) => sum + (list?.length ?? 0), 0)
}
