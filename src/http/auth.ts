/* Who may do what. With a secret: whoever brings a token with the right scope. Without one the server listens on loopback only, and
 * a web page open in a browser on this machine must not get in either: a request that comes from another site (Origin, or Sec-Fetch-Site where
 * there is none), or for another host name (DNS rebinding), is refused. */
import { type Access, isLoopback } from '../config.ts'
import { QueueError } from '../errors.ts'
import { type Action, allows, portalOf, verifyToken } from './token.ts'

/** The application whose endpoints alone may be touched; undefined: whatever was asked for.
 * @param name of the queue, for publish of the exchange
 * @param options.tokenInQuery counts if there is no header
 * @param options.forPortals whether a token for a portal will do, too
 * @throws QueueError token_missing, token_invalid, token_expired, scope_missing. */
export async function authorize(
  access: Access,
  request: Request,
  action: Action,
  name: string,
  {
    tokenInQuery,
    forPortals = false,
  }: { readonly tokenInQuery?: string | undefined; readonly forPortals?: boolean } = {},
): Promise<string | undefined> {
  if (access.kind === 'open') {
    refuseOtherSites(request)
    return undefined
  }

  const header = request.headers.get('authorization')
  const token = header === null ? tokenInQuery : /^Bearer +(\S+)$/i.exec(header)?.[1]
  if (!token) throw new QueueError('token_missing', 'the header "Authorization: Bearer <token>" is missing')
  const scopes = await verifyToken(access.secret, token)
  if (allows(scopes, action, name)) return undefined
  const application = forPortals ? portalOf(scopes) : undefined
  if (application !== undefined) return application
  const missing = action === 'admin' ? 'admin' : `${action}:${name}`
  throw new QueueError('scope_missing', `this needs the scope ${missing}, the token has: ${scopes.join(' ') || 'none'}`)
}

function refuseOtherSites(request: Request): void {
  const origin = request.headers.get('origin')
  const host = new URL(request.url).hostname
  const other = origin === null ? otherSite(request) : isLoopback(hostnameOf(origin)) ? undefined : origin
  if (isLoopback(host) && other === undefined) return
  throw new QueueError(
    'token_missing',
    `without POSTBAG_SECRET only this machine is served, under 127.0.0.1 or localhost: got a request for ${host}` +
      (other === undefined ? '' : ` from ${other}`),
  )
}

/** What a browser says of the page where an image, a link or a form with GET is: these come without an Origin. */
function otherSite(request: Request): string | undefined {
  const site = request.headers.get('sec-fetch-site')
  return site === 'cross-site' || site === 'same-site' ? `another origin (Sec-Fetch-Site: ${site})` : undefined
}

/** The host of an origin; itself if it has none ("null"). */
export function hostnameOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : origin
}
