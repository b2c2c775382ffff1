/* Tokens: signed claims (JWT, HS256) that an edge function checks without a round trip.
 *
 *   scope   space-separated (RFC 8693, section 4.2): "admin", or "send:<queues>", "receive:<queues>", "publish:<exchanges>", where
 *           * in a name stands for any characters: "send:orders.*"; or "portal:<application>" alone, for one subscriber's own view
 *           (http/portal.ts), percent-encoded: "portal:acme%20inc"
 *   iat     when it was made
 *   exp     when it ends, in seconds since 1970; missing: never. One for a portal has both, and they are a week apart at most */
import { sign, verify } from 'hono/jwt'
import { QueueError } from '../errors.ts'
import { maxApplicationLength, maxPortalSeconds } from '../limits.ts'
import { isStorable } from './fields.ts'

/** What a scope allows: send; receive, settle and look; publish, and see where it would go; or everything. */
export type Action = 'send' | 'receive' | 'publish' | 'admin'

const scopePattern = /^(admin|(send|receive|publish):[A-Za-z0-9._*-]{1,80})$/
const portalPattern = /^portal:((?:[A-Za-z0-9._~!'()-]|%[0-9A-Fa-f]{2})+)$/

/** Make a token.
 * @throws QueueError request_invalid for a scope that is none, or one for a portal that is not alone or lasts too long; for an end that is no time. */
export async function signToken(
  secret: string,
  { scopes, expiresAt, now }: { readonly scopes: readonly string[]; readonly expiresAt?: Date; readonly now: Date },
): Promise<string> {
  for (const scope of scopes) {
    if (!scopePattern.test(scope) && applicationIn(scope) === undefined) {
      throw new QueueError(
        'request_invalid',
        'scope must be admin, send:<queues>, receive:<queues>, publish:<exchanges> or portal:<application> (percent-encoded), ' +
          `got ${scope}`,
      )
    }
  }
  if (Number.isNaN(expiresAt?.getTime())) {
    throw new QueueError('request_invalid', 'expiresAt must be a time, got an invalid Date')
  }
  const claims = { scope: scopes.join(' '), iat: epochSeconds(now), ...(expiresAt && { exp: epochSeconds(expiresAt) }) }
  const fault = portalFault(scopes, claims)
  if (fault) throw new QueueError('request_invalid', fault)
  return sign(claims, secret, 'HS256')
}

/** The scopes of a token.
 * @throws QueueError token_invalid, token_expired. */
export async function verifyToken(secret: string, token: string): Promise<readonly string[]> {
  const { scope, ...times } = await verifiedClaims(secret, token)
  const scopes = typeof scope === 'string' ? scope.split(' ') : []
  const fault = portalFault(scopes, times)
  if (fault) throw new QueueError('token_invalid', fault)
  return scopes
}

/** How far the clock of who makes a token may be ahead of this one, in seconds. */
const clockTolerance = 60

async function verifiedClaims(secret: string, token: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    const claims = await verify(token, secret, { alg: 'HS256', iat: false })
    if (typeof claims.iat === 'number' && claims.iat > Date.now() / 1000 + clockTolerance) throw new Error('made later')
    return claims
  } catch (error) {
    if (error instanceof Error && error.name === 'JwtTokenExpired') {
      throw new QueueError('token_expired', 'the token has expired: make a new one with "postbag token"')
    }
    throw new QueueError('token_invalid', 'the token is not one of this server: its signature or form is wrong')
  }
}

/** What is wrong with the scopes and times of a token for a portal; undefined: nothing, or it is for none. */
function portalFault(
  scopes: readonly string[],
  { iat, exp }: { readonly iat?: unknown; readonly exp?: unknown },
): string | undefined {
  if (!scopes.some((scope) => /^portal\b/.test(scope))) return undefined
  if (scopes.length > 1 || portalOf(scopes) === undefined) {
    return `a token for a portal must have one scope, portal:<application>, got ${scopes.join(' ')}`
  }
  const lasts = typeof iat === 'number' && typeof exp === 'number' ? exp - iat : undefined
  if (lasts !== undefined && lasts <= maxPortalSeconds) return undefined
  const got = lasts === undefined ? 'one that says not when' : `${lasts} s`
  return `a token for a portal must end at most ${maxPortalSeconds} s (7 days) after it was made, got ${got}`
}

/** The application for whose subscriber a token with these scopes is; undefined: it is for none. */
export function portalOf(scopes: readonly string[]): string | undefined {
  return applicationIn(scopes[0] ?? '')
}

function applicationIn(scope: string): string | undefined {
  const encoded = portalPattern.exec(scope)?.[1]
  if (encoded === undefined) return undefined
  try {
    const application = decodeURIComponent(encoded)
    return application.length <= maxApplicationLength && isStorable(application) ? application : undefined
  } catch {
    return undefined
  }
}

/** Whether scopes allow an action on a queue (publish: on an exchange). */
export function allows(scopes: readonly string[], action: Action, name: string): boolean {
  return scopes.some((scope) => {
    if (scope === 'admin') return true
    const [verb, pattern] = scope.split(':')
    return action !== 'admin' && verb === action && pattern !== undefined && matches(pattern, name)
  })
}

/** Whether a pattern in which `*` stands for any characters fits: each part is taken where it stands first. (A regular expression would try
 * all other places, too, and with some stars never end.) */
function matches(pattern: string, name: string): boolean {
  const [first = '', ...parts] = pattern.split('*')
  const last = parts.pop()
  if (last === undefined) return name === first
  if (!name.startsWith(first)) return false
  let end = first.length
  for (const part of parts) {
    const at = name.indexOf(part, end)
    if (at < 0) return false
    end = at + part.length
  }
  return name.length - last.length >= end && name.endsWith(last)
}

function epochSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}
