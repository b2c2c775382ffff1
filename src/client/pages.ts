/* Lists, a page per request. */
import type { CallOptions, Connection } from './connection.ts'
import { defined } from './effects.ts'

interface Page<Info> {
  readonly next?: string
  readonly [field: string]: readonly Info[] | string | undefined
}

/** All that a list has, in its order.
 * @param path of the list, after /v1 @param field what an answer calls its elements @param query which of them */
export async function* pages<Info>(
  connection: Connection,
  path: string,
  field: string,
  query: object,
  { signal }: CallOptions,
): AsyncGenerator<Info, void, undefined> {
  const asked = new URLSearchParams(defined(query) as Record<string, string>)
  let next: string | undefined
  do {
    const { data } = await connection.call<Page<Info>>('GET', `${path}?${asked}`, undefined, { signal })
    yield* data[field] as readonly Info[]
    next = data.next
    asked.set('after', next ?? '')
  } while (next !== undefined)
}
