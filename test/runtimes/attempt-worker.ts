/* A Worker that makes attempts to deliver webhooks: each request is one, as JSON, and is answered with its outcome. */
import { attemptWithFetch } from '../../src/webhooks/fetch-attempt.ts'

export default {
  fetch: async (request: Request): Promise<Response> => Response.json(await attemptWithFetch(await request.json())),
}
