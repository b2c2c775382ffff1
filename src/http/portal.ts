/* What a subscriber may do with a token of the scope portal:<application>: look at the webhook endpoints of that application, and mend
 * them. The one place that says so: http/door.ts holds to 1 and 2, the route itself to 3, and test/http/portal.test.ts asks every route
 * that there is.
 *
 *  1. A route that is not in the list is refused, whatever is added elsewhere.
 *  2. A route that names an endpoint answers for one of another application, or of none, as for one that does not exist, before anything
 *     else of the request is looked at.
 *  3. A route that names none shows what is of the token's application (`application`, which the door hands it), whatever was asked for.
 *
 * What must not be in it: what chooses whose events come or where they go (to create or replace: an exchange carries the events of all),
 * what cannot be undone (to delete), and pause and resume: they are the operator's switch, which a subscriber cannot turn back, and what
 * waits for a paused endpoint waits without end. */

const own = '/v1/endpoints/{endpoint}'

const routes: ReadonlySet<string> = new Set([
  'get /v1/endpoints',
  `get ${own}`,
  `get ${own}/attempts`,
  `get ${own}/statistics`,
  `post ${own}/enable`,
  `post ${own}/disable`,
  `post ${own}/recover`,
  `post ${own}/resend`,
  `post ${own}/secret/rotate`,
  `post ${own}/test`,
])

/** @param path in OpenAPI's form */
export function isForPortals(method: string, path: string): boolean {
  return routes.has(`${method} ${path}`)
}
