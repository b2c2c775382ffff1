/* Our statements through somebody else's library, whose settings must not reach them.
 *
 *  1. Values go as text, and the statement says so before it says what they are ($2::text::jsonb): libraries write dates, JSON and
 *     undefined each in a way of their own, and text all alike. (A value without a cast is what the function takes.)
 *  2. A row comes back as one column of text: JSON behind a mark, for there are libraries that read what looks like JSON (Kysely's
 *     ParseJSONResultsPlugin does, at every depth). Whatever a library makes of names (camelCase) and of types (dates, numbers, JSON) is
 *     made of that column only, which it leaves alone.
 *  3. Where the database's error lies inside the library's, and is one of ours, it is taken out; else the library's is thrown, which is what
 *     the caller's code around the transaction knows. */
import { QueueError } from '../errors.ts'
import { asQueueError, type Executor } from './call.ts'

/** What no JSON begins with, nor anything else that a library might read. */
const mark = 'row '

/** Run a statement with `$1` … in it. Gives the rows, or (as pg does) an object that has them. */
export type RunText = (text: string, values: (string | null)[]) => PromiseLike<unknown>

/** An executor for statements that are one select, as all of ours are.
 * @param inner what lies inside an error of the library's, if it is not where most have it */
export function through(run: RunText, inner: (error: unknown) => unknown = innerError): Executor {
  return {
    async query(text, values) {
      try {
        const answer = await run(
          `select '${mark}' || row_to_json(answer)::text as answer from (${text.replace(/\$\d+(?=::)/g, '$&::text')}) as answer`,
          values.map(textOf),
        )
        return { rows: rowsOf(answer).map((row) => JSON.parse(row.answer.slice(mark.length))) }
      } catch (error) {
        throw explained(error, inner)
      }
    },
  }
}

function textOf(value: unknown): string | null {
  if (value === undefined || value === null) return null
  // (Of names of settings, which need no quotes.)
  if (Array.isArray(value)) return `{${value.join(',')}}`
  return value instanceof Date ? value.toISOString() : String(value)
}

function rowsOf(answer: unknown): { readonly answer: string }[] {
  return Array.isArray(answer) ? [...answer] : (answer as { rows: { answer: string }[] }).rows
}

/** A QueueError for the innermost error that is one of ours; the error itself if none is. */
function explained(error: unknown, inner: (error: unknown) => unknown): unknown {
  const inside = inner(error)
  const found = inside instanceof Error ? explained(inside, inner) : error
  const own = asQueueError(found instanceof QueueError ? found : error)
  return own instanceof QueueError ? own : error
}

/** Drizzle and most others say `cause`, TypeORM `driverError`. */
function innerError(error: unknown): unknown {
  const { driverError, cause } = error as { driverError?: unknown; cause?: unknown }
  return driverError ?? cause
}
