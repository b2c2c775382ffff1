/* What a call costs and how Postgres went about it: the plans of the statements inside our functions (from auto_explain, which
 * comes with Postgres), and the pages that a call touched. Unlike time, both are the same on every machine. */
import type pg from 'pg'
import { only } from './sql-verbs.ts'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly Plans?: readonly PlanNode[]
}

/** The plan nodes of all statements that the session runs during the work, those inside functions included. Needs a superuser. */
export async function planNodes(session: pg.Client, work: () => Promise<unknown>): Promise<readonly PlanNode[]> {
  const nodes: PlanNode[] = []
  const listen = ({ message = '' }: { readonly message?: string | undefined }) => {
    const [, plan] = /^duration: .* plan:\s*(\{[\s\S]*\})\s*$/.exec(message) ?? []
    if (plan) nodes.push(...flat(JSON.parse(plan).Plan))
  }
  await session.query(`
    load 'auto_explain';
    set auto_explain.log_min_duration = 0;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_format = json;
    set auto_explain.log_level = notice;
  `)
  session.on('notice', listen)
  try {
    await work()
  } finally {
    session.off('notice', listen)
    await session.query('set auto_explain.log_min_duration = -1')
  }
  if (nodes.length === 0) throw new Error('auto_explain said nothing')
  return nodes
}

function flat(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flat)]
}

/** How the nodes read a table of Postbag, each way once: "Index Scan message_pkey", "Seq Scan". */
export function readsOf(table: string, nodes: readonly PlanNode[]): readonly string[] {
  const reads = nodes
    .filter((node) => node['Relation Name'] === table && node['Node Type'] !== 'ModifyTable')
    .map((node) => [node['Node Type'], node['Index Name']].filter(Boolean).join(' '))
  return [...new Set(reads)].sort()
}

/** Pages in shared memory that a `select` touches, once for every time. */
export async function pagesTouched(session: pg.Client, statement: string): Promise<number> {
  const { rows } = await session.query(`explain (analyze, buffers, timing off, format json) ${statement}`)
  const { Plan: plan } = only(only(rows)['QUERY PLAN'] as { Plan: Record<string, number> }[])
  return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0)
}
