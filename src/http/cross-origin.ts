/* Web pages of other origins (CORS). A token is sent by who knows it, never by a browser on its own, so with tokens any page may ask. In the open
 * mode a page of this machine may; http/auth.ts refuses the others. */
import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { type Access, isLoopback } from '../config.ts'
import { hostnameOf } from './auth.ts'
import type { DoorEnv } from './door.ts'

/** How long a browser may rely on the answer to a preflight: two hours, as Chromium does at most. */
const maxAge = 7200

export function crossOrigin(access: Access): MiddlewareHandler<DoorEnv> {
  const answer = cors({
    origin: access.kind === 'token' ? '*' : (origin) => (isLoopback(hostnameOf(origin)) ? origin : undefined),
    allowMethods: ['GET', 'PUT', 'POST', 'DELETE'],
    // Whatever it asks for: CloudEvents have headers of any name, there and here. (No credentials go along, so "*" is all; older browsers know
    // what is named.)
    allowHeaders: [],
    exposeHeaders: ['*', 'location', 'retry-after', 'x-request-id'],
    maxAge,
  })
  // What comes from no page (all but browsers) is not made to pay.
  return (context, next) => (context.req.header('origin') === undefined ? next() : answer(context, next))
}
