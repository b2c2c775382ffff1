/* Which URLs may be called. Asked when an endpoint is made, so that its owner learns at once what is wrong, and again at each attempt,
 * since the policy may have changed. It judges what is written; the addresses that a name has are judged when it is resolved
 * (node/addresses.ts). Pure. */
import { QueueError } from '../errors.ts'
import { maxUrlLength } from '../limits.ts'
import { kindOfAddress } from './address.ts'

export interface UrlPolicy {
  /** Also addresses of the same machine or network, and names without a dot, `.localhost` and the like. For development, and for
   * receivers of your own beside the server. Never: the metadata addresses of clouds. */
  readonly allowPrivate: boolean
  /** Also http. What is sent can then be read and changed on its way. */
  readonly allowHttp: boolean
  /** The only ports, 1 – 65535. Undefined: 80, 443 and those from 1024 on, so that nobody has mail, ssh or name servers called. */
  readonly ports?: readonly number[]
}

/** What is right for URLs that others may choose. */
export const strictPolicy: UrlPolicy = { allowPrivate: false, allowHttp: false }

export interface CheckedUrl {
  /** As it is to be stored: names in lower case and in ASCII, the default port left out. */
  readonly href: string
  readonly isSecure: boolean
  /** The name or the address, without brackets. */
  readonly host: string
  readonly isAddress: boolean
  readonly port: number
  /** What a request names: `host`, and the port if it is not the usual one. */
  readonly authority: string
  /** Path and query. */
  readonly path: string
}

/** Names that lead inside: of special use (RFC 6761, 6762, 7686, 8375, .internal), so by custom, or the metadata of a cloud. */
const insideNames =
  /(^|\.)(localhost|localdomain|local|internal|intranet|lan|home|corp|private|onion|home\.arpa)$|^metadata\.(goog|tencentyun\.com)$/

/** @throws QueueError request_invalid with the rule that is broken */
export function checkUrl(text: string, policy: UrlPolicy): CheckedUrl {
  const url = parse(text)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const isAddress = host !== url.hostname || /^[\d.]+$/.test(host)
  const isSecure = url.protocol === 'https:'
  const port = url.port === '' ? (isSecure ? 443 : 80) : Number(url.port)

  if (!isSecure && !policy.allowHttp) refuse('must begin with https://', url.protocol)
  checkPort(port, policy)
  if (isAddress) checkAddress(host, policy)
  else checkName(host, policy)
  return { href: url.href, isSecure, host, isAddress, port, authority: url.host, path: url.pathname + url.search }
}

/** One that is written as people write it. URL parsers take much more (0x7f.1, １２７.0.0.1, ex%61mple.com …), in which addresses hide.
 * Errors show the scheme or the host, and no more: the rest may be secret. */
function parse(text: string): URL {
  if (text.length > maxUrlLength) refuse(`must have at most ${maxUrlLength} characters`, text.length)
  if (/[\s\\\p{Cc}]/u.test(text)) refuse('must have no spaces, control characters or backslashes', 'some')
  if (text.includes('#')) refuse('must have no fragment', '"#"')
  const [, written] = /^https?:\/\/([^/?]*)/i.exec(text) ?? []
  if (written === undefined) refuse('must begin with https://', JSON.stringify(/^[a-z+.-]{0,20}/i.exec(text)?.[0]))
  if (written === '') refuse('must name a host', 'none')
  if (written.includes('@')) refuse('must have no user name or password', '"@"')
  if (written.includes('%')) refuse('must have a host without "%"', JSON.stringify(written))
  if (!URL.canParse(text)) refuse('must be a URL', JSON.stringify(written))
  const url = new URL(text)
  if (/^[\d.]+$/.test(url.hostname) && written.replace(/:\d*$/, '') !== url.hostname) {
    refuse(`must have its IPv4 address written as ${url.hostname}`, JSON.stringify(written))
  }
  return url
}

function checkPort(port: number, { ports }: UrlPolicy): void {
  if (ports ? ports.includes(port) : port === 80 || port === 443 || port >= 1024) return
  refuse(ports ? `must have one of the ports ${ports.join(', ')}` : 'must have port 80, 443 or one from 1024 on', port)
}

function checkAddress(host: string, { allowPrivate }: UrlPolicy): void {
  const kind = kindOfAddress(host)
  if (kind === 'refused' || (kind === 'private' && !allowPrivate)) refuse('must lead to a public address', host)
}

function checkName(host: string, { allowPrivate }: UrlPolicy): void {
  if (host.length > 253 || !host.split('.').every((label) => /^[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?$/.test(label))) {
    refuse('must have a host name of letters, digits and hyphens, without a dot at the end', JSON.stringify(host))
  }
  if (!allowPrivate && (!host.includes('.') || insideNames.test(host))) refuse('must lead to a public host', host)
}

function refuse(rule: string, got: string | number): never {
  throw new QueueError('request_invalid', `url ${rule}, got ${String(got).slice(0, 100)}`)
}
