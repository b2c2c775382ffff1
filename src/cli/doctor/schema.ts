/* Whether the database has the Postbag that this package brings. */
import { packagedMigrations } from '../../db/install.ts'
import { few, ok, problem, type Remark, type Topic } from './finding.ts'

interface SchemaRow {
  readonly installed: readonly { readonly number: number; readonly hash: string }[]
  readonly invalid_indexes: readonly string[]
}

export const schema: Topic = {
  name: 'schema',
  async look({ ask }) {
    try {
      const [row] = await ask<SchemaRow>(
        `select
          (
            select coalesce(jsonb_agg(jsonb_build_object('number', known.number, 'hash', known.hash) order by known.number), '[]')
            from postbag.migration as known
          ) as installed,
          array(
            select index.indexrelid::regclass::text
            from pg_index as index
            join pg_class as indexed on indexed.oid = index.indrelid
            where indexed.relnamespace = 'postbag'::regnamespace and not index.indisvalid
            order by 1
          ) as invalid_indexes`,
      )
      return row ? judge(row) : []
    } catch (error) {
      if (!/^(3F000|42P01)$/.test((error as { code?: string }).code ?? '')) throw error
      return [problem('There is no Postbag in this database.', 'Run "postbag migrate" with the same DATABASE_URL.')]
    }
  },
}

function judge({ installed, invalid_indexes }: SchemaRow): readonly Remark[] {
  const packaged = packagedMigrations()
  const remarks: Remark[] = []
  const other = installed.find(({ number, hash }) =>
    packaged.some((ours) => ours.number === number && ours.hash !== hash),
  )

  if (installed.length > packaged.length) {
    remarks.push(
      problem(
        `The database is at migration ${installed.length}; this Postbag knows only ${packaged.length}.`,
        'Install the newer version of the package: "npm install postbag@latest".',
      ),
    )
  } else if (other) {
    remarks.push(
      problem(
        `Migration ${other.number} in the database is not the one of this package.`,
        'Use the package that installed it; or "postbag uninstall", which deletes all messages, and "postbag migrate".',
      ),
    )
  } else if (installed.length < packaged.length) {
    remarks.push(
      problem(
        `The database is at migration ${installed.length}; this Postbag needs ${packaged.length}.`,
        'Run "postbag migrate" with the same DATABASE_URL.',
      ),
    )
  }
  if (invalid_indexes.length > 0) {
    remarks.push(
      problem(
        `Indexes are not valid, so that no query uses them: ${few(invalid_indexes)}.`,
        invalid_indexes.map((index) => `reindex index concurrently ${index};`).join(' '),
      ),
    )
  }
  return remarks.length > 0
    ? remarks
    : [ok(`The database is at migration ${installed.length}, as this Postbag needs it.`)]
}
