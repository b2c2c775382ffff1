/* Whether Postgres runs out of numbers: of transactions (each must be frozen in time, or the database stops taking writes), of
 * multixacts, and of ids. */
import { thousands } from '../output.ts'
import { few, hint, levelFrom, ok, problem, type Remark, type Topic } from './finding.ts'

/** Of two thousand million. Autovacuum begins in earnest at 200 million by default; at 1,600 million it does nothing else. */
const ageBounds = { warning: 1_000_000_000, problem: 1_600_000_000 } as const
const manyIds = 2 ** 62

export interface NumbersRow {
  readonly xid_age: number
  readonly multixact_age: number
  readonly sequences: readonly { readonly name: string; readonly last: number | null; readonly visible: boolean }[]
}

export const numbers: Topic = {
  name: 'numbers',
  async look({ ask }) {
    const [row] = await ask<NumbersRow>(
      `select
        age(own.datfrozenxid) as xid_age,
        mxid_age(own.datminmxid) as multixact_age,
        (
          select coalesce(jsonb_agg(jsonb_build_object(
            'name', sequence.name, 'last', known.last_value, 'visible', has_sequence_privilege(sequence.name, 'usage, select')
          )), '[]')
          from pg_sequences as known, format('%I.%I', known.schemaname, known.sequencename) as sequence (name)
          where known.schemaname = 'postbag'
        ) as sequences
      from pg_database as own
      where own.datname = current_database()`,
    )
    return row ? judgeNumbers(row) : []
  },
}

export function judgeNumbers({ xid_age, multixact_age, sequences }: NumbersRow): readonly Remark[] {
  const remarks: Remark[] = []
  for (const [age, of] of [
    [xid_age, 'transaction ids'],
    [multixact_age, 'multixact ids'],
  ] as const) {
    const level = levelFrom(age, ageBounds)
    if (!level) continue
    remarks.push({
      level,
      what: `${thousands(age)} ${of} are in use, of 2,000,000,000: then this database takes no more writes.`,
      remedy: 'See who holds back the horizon, and then: vacuum (freeze); in this database.',
    })
  }
  for (const { name, last } of sequences) {
    if (last === null || last < manyIds) continue
    remarks.push(
      problem(
        `The sequence ${name} has used half of its numbers, or was set to there.`,
        `select setval('${name}', …);`,
      ),
    )
  }
  const hidden = sequences.filter(({ visible }) => !visible).map(({ name }) => name)
  if (hidden.length > 0) {
    remarks.push(
      hint(`This role may not see how far sequences are: ${few(hidden)}.`, 'Ask as the owner of the schema.'),
    )
  }
  return remarks.length > 0 ? remarks : [ok(`${thousands(xid_age)} transaction ids are in use, of 2,000,000,000.`)]
}
