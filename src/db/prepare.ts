/* Statements prepared by name: Postgres parses and analyses a text once per connection, instead of in every call.
 *
 *  1. Our texts are few and fixed. A text's name is made of the text, so two texts never share one, and neither do two versions of
 *     Postbag behind the same pooler.
 *  2. Names are session state, which a transaction pooler that does not know them mixes up: the statement is not there (26000, or 08P01
 *     from the pooler itself), or is there already (42P05). Then this pool gives no names any more.
 *  3. After a migration a name may stand for a plan of the old schema (0A000). Then the names are made anew.
 *
 * In all these cases the statement is run again, without a name, and that is safe: the refusal answers the message that names the
 * statement, before it was executed; and as it is a transaction of its own, whatever ends in an error is undone. */
import type { Executor } from './call.ts'

/** What runs prepared statements: a `pg` pool, each statement in a transaction of its own. */
export interface Preparer {
  query(statement: { name?: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>
}

/** Most names: each costs some kilobytes in every session. (Only creating queues has many texts, one per set of settings.) */
const maxNames = 64

/** The pool as an executor of our own statements. Not for texts that hold values, which would fill the sessions. */
export function preparing(pool: Preparer): Executor {
  const names = new Map<string, string>()
  let generation = 0
  let refused = false

  function nameOf(text: string): string | undefined {
    if (refused) return undefined
    const known = names.get(text)
    if (known !== undefined || names.size >= maxNames) return known
    const name = `postbag_${generation}_${fingerprint(text)}`
    names.set(text, name)
    return name
  }

  return {
    async query(text, values) {
      const name = nameOf(text)
      if (name === undefined) return pool.query({ text, values })
      try {
        return await pool.query({ name, text, values })
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal === undefined) throw error
        if (refusal === 'unsupported') refused = true
        else if (names.get(text) === name) {
          names.clear()
          generation++
        }
        return pool.query({ text, values })
      }
    },
  }
}

/** Why a statement was refused for its name alone. */
function refusalOf(error: unknown): 'unsupported' | 'outdated' | undefined {
  if (!(error instanceof Error)) return undefined
  const { code } = error as Error & { code?: string }
  if (code === '26000' || code === '42P05' || (code === '08P01' && /prepared statement/.test(error.message))) {
    return 'unsupported'
  }
  return code === '0A000' && /cached plan/.test(error.message) ? 'outdated' : undefined
}

/** 53 bits of a text (cyrb53): synchronous and everywhere, which the platforms' cryptographic digests are not. */
function fingerprint(text: string): string {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return (4294967296 * (2097151 & low) + (high >>> 0)).toString(36)
}
