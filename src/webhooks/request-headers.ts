/* Which headers an endpoint may add to its requests, and what a request finally carries. Pure. */
import { QueueError } from '../errors.ts'
import { maxEndpointHeaders, maxEndpointHeadersBytes } from '../limits.ts'

/** What belongs to the connection, or says where the message begins and ends: whoever could set it could smuggle a second request in. */
const reserved =
  /^(host|connection|content-(length|encoding)|transfer-encoding|te|trailer|upgrade|expect|keep-alive|accept-encoding|proxy-.*)$/i

/** What each delivery has of its own (deliver.ts), so that an endpoint's would never be sent. (A traceparent is, where the event has none.) */
const ours = /^(content-type|user-agent|webhook-(id|timestamp|signature))$/i

/** Those of an endpoint.
 * @throws QueueError request_invalid with the rule that is broken. Values never appear in it: they may be secrets. */
export function checkHeaders(headers: Readonly<Record<string, string>>): void {
  const entries = Object.entries(headers)
  if (entries.length > maxEndpointHeaders) refuse(`must be at most ${maxEndpointHeaders}`, entries.length)
  checkSendable(headers)
  const names = new Set<string>()
  for (const [name] of entries) {
    if (ours.test(name)) refuse('must not set what each delivery has of its own', name)
    if (names.has(name.toLowerCase())) refuse('must not have names that differ only in case', name)
    names.add(name.toLowerCase())
  }
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (bytes > maxEndpointHeadersBytes) refuse(`must have at most ${maxEndpointHeadersBytes} bytes`, bytes)
}

/** Those of a request: an endpoint's own, and those that every delivery has. (How many those may be together is no matter of the endpoint's.)
 * @throws QueueError request_invalid as checkHeaders. */
export function checkSendable(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!#$%&'*+.^_`|~\w-]{1,100}$/.test(name)) refuse('must have names of 1 to 100 token characters', name)
    if (reserved.test(name)) refuse('must not set what belongs to the connection', name)
    if (!isSendable(value)) refuse(`must have values of visible ASCII, spaces and tabs`, name)
  }
}

/** Whether this may be a header's value. */
export function isSendable(value: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(value)
}

/** Those of the request and ours. Compression is asked not to be used, so that what is kept can be read and cannot grow. */
export function sentHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const given = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
  return { 'user-agent': 'Postbag', accept: '*/*', ...Object.fromEntries(given), 'accept-encoding': 'identity' }
}

function refuse(rule: string, got: string | number): never {
  throw new QueueError('request_invalid', `headers ${rule}, got ${String(got).slice(0, 100)}`)
}
