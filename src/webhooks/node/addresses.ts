/* From a URL to the addresses that may be called for it. A name is resolved once per attempt, every address that comes back is judged, and
 * only those that are allowed are connected to, as addresses: so a name that says something else a moment later (DNS rebinding)
 * changes nothing.
 *
 * A name with public and private addresses is called on its public ones. Refusing it would be no safer, as the others are never
 * connected to; and where a network makes IPv6 addresses for IPv4 hosts (DNS64), every name has some that are refused. */
import { lookup, Resolver } from 'node:dns/promises'
import { maxTriedAddresses } from '../../limits.ts'
import { kindOfAddress } from '../address.ts'
import { AttemptFailure, type Sending } from '../attempt.ts'

/** All addresses of a name, in the order to be tried. Rejects if there is none, or when the signal is aborted. */
export type Resolve = (name: string, signal: AbortSignal) => Promise<readonly string[]>

/** @throws AttemptFailure dns if there is none, refused_address if none may be called; what the signal says if it is aborted */
export async function addressesOf(
  { url, policy, signal }: Sending,
  resolve = policy.allowPrivate ? resolveAsMachine : resolveByDns(),
): Promise<readonly string[]> {
  if (url.isAddress) return [url.host]
  const found = await unlessAborted(resolve(url.host, signal).catch(unresolved), signal)
  if (found.length === 0) unresolved(new Error(`${url.host} has no address`))
  const allowed = found.filter((address) => {
    const kind = kindOfAddress(address)
    return kind === 'global' || (kind === 'private' && policy.allowPrivate)
  })
  // (Which they are is not told: who may choose URLs could learn what the names inside are.)
  if (allowed.length === 0) throw new AttemptFailure('refused_address', `${url.host} has no address that may be called`)
  return allowed.slice(0, maxTriedAddresses)
}

function unresolved(error: Error): never {
  throw new AttemptFailure('dns', error.message)
}

/** How long addresses of one kind wait for those of the other. (RFC 8305, section 3, says 50 ms, for who may still use those that come
 * later. Here they would be lost to the attempt.) */
const otherKindMillis = 300

/** By asking name servers, IPv4 first. Some never answer a question for the other kind of addresses, so that is not waited for long once
 * there are some. Not with getaddrinfo: it occupies one of the four threads of the process until it gives up a name server that does not
 * answer, so a few such names would stop everything else; it also reads the hosts file and tries the machine's own domain.
 * @param servers addresses with ports; by default the machine's */
export function resolveByDns(servers?: readonly string[]): Resolve {
  return async (name, signal) => {
    const resolver = new Resolver({ timeout: 2000, tries: 2 })
    if (servers) resolver.setServers(servers)
    const onAbort = () => resolver.cancel()
    signal.addEventListener('abort', onAbort)
    let hurry: ReturnType<typeof setTimeout> | undefined
    const hurrying = (found: readonly string[]) => {
      hurry ??= setTimeout(() => resolver.cancel(), otherKindMillis)
      return found
    }
    try {
      const answers = await Promise.allSettled([
        resolver.resolve4(name).then(hurrying),
        resolver.resolve6(name).then(hurrying),
      ])
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
      const [first] = answers
      if (found.length === 0 && first.status === 'rejected') throw first.reason
      return found
    } finally {
      clearTimeout(hurry)
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** As everything else on the machine, with its hosts file: for development. */
const resolveAsMachine: Resolve = async (name) => {
  const found = await lookup(name, { all: true, order: 'ipv4first' })
  return found.map(({ address }) => address)
}

function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  return Promise.race([work, promise]).finally(() => signal.removeEventListener('abort', onAbort))
}
