/* Tokens: signed claims (JWT, HS256) that an edge function checks without a round trip.
 *
 *   scope   space-separated (RFC 8693, section 4.2): "admin", or "send:<queues>", "receive:<queues>", "publish:<exchanges>", where
 *           * in a name stands for any characters: "send:orders.*"
 *   exp     when it ends, in seconds since 1970; missing: never */
import { sign, verify } from 'hono/jwt'
import { QueueError } from '../errors.ts'

/** What a scope allows: send; receive, settle and look; publish, and see where it would go; or everything. */
export type Action = 'send' | 'receive' | 'publish' | 'admin'

const scopePattern = /^(admin|(send|receive|publish):[A-Za-z0-9._*-]{1,80})$/

/** Make a token.
 * @throws QueueError request_invalid for a scope that is none. */
export async function signToken(
  secret: string,
  { scopes, expiresAt, now }: { readonly scopes: readonly string[]; readonly expiresAt?: Date; readonly now: Date },
): Promise<string> {
  for (const scope of scopes) {
    if (!scopePattern.test(scope)) {
      throw new QueueError(
        'request_invalid',
        `scope must be admin, send:<queues>, receive:<queues> or publish:<exchanges>, got ${scope}`,
      )
    }
  }
  const claims = { scope: scopes.join(' '), iat: epochSeconds(now), ...(expiresAt && { exp: epochSeconds(expiresAt) }) }
  return sign(claims, secret, 'HS256')
}

/** The scopes of a token.
 * @throws QueueError token_invalid, token_expired. */
export async function verifyToken(secret: string, token: string): Promise<readonly string[]> {
  try {
    const { scope } = await verify(token, secret, 'HS256')
    return typeof scope === 'string' ? scope.split(' ') : []
  } catch (error) {
    if (error instanceof Error && error.name === 'JwtTokenExpired') {
      throw new QueueError('token_expired', 'the token has expired: make a new one with "postbag token"')
    }
    throw new QueueError('token_invalid', 'the token is not one of this server: its signature or form is wrong')
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

function matches(pattern: string, name: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.\\+?^${}()|[\]]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(name)
}

function epochSeconds(date: Date): number {
  return Math.floor(date.getTime() / 1000)
}
