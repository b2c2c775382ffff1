/* An import as people read it: what is planned, what is not the same, what was done. */
import type { Definitions, Imported, ImportResponse } from '../../wire.ts'
import { conditionOf, targetOf } from '../exchange/conditions.ts'
import { counted, table, thousands } from '../output.ts'
import { saidBy } from '../queue/settings.ts'
import type { Finding } from './finding.ts'

export function planSaid({ exchanges, queues, policies, bindings }: Required<Definitions>): string {
  const rows = [
    ...exchanges.map(({ name, type = 'direct', alternate }) => [
      'exchange',
      name,
      alternate ? `${type}, the rest goes to ${alternate}` : type,
    ]),
    ...queues.map(({ name, ...config }) => ['queue', name, saidBy(config)]),
    ...policies.map(({ name, pattern, settings }) => ['policy', name, `for ${pattern}: ${saidBy(settings)}`]),
    ...bindings.map((binding) => [
      'binding',
      binding.source,
      `to ${[targetOf(binding), conditionOf(binding)].filter(Boolean).join(', ')}`,
    ]),
  ]
  return table(['KIND', 'NAME', 'WHAT'], rows)
}

const headings: Readonly<Record<Finding['kind'], string>> = {
  unmapped: 'Cannot be mapped',
  note: 'Not quite the same',
  ignored: 'Left out, without a difference to messages',
}

export function findingsSaid(findings: readonly Finding[]): string {
  const kinds = Object.entries(headings).map(([kind, heading]) => {
    const lines = findings.filter((finding) => finding.kind === kind).map(({ subject, why }) => `  ${subject}: ${why}`)
    return lines.length === 0 ? [] : [`${heading} (${thousands(lines.length)}):`, ...lines]
  })
  return kinds.flat().join('\n')
}

export function countsSaid({ exchanges, queues, policies, bindings }: ImportResponse, dryRun: boolean): string {
  const all = [exchanges, queues, policies, bindings]
  const sum = (of: keyof Imported) => all.reduce((total, counts) => total + counts[of], 0)
  const created = [
    counted(exchanges.created, 'exchange'),
    counted(queues.created, 'queue'),
    policies.created === 1 ? '1 policy' : `${thousands(policies.created)} policies`,
    counted(bindings.created, 'binding'),
  ]
  const present = sum('present')
  const said = `${dryRun ? 'Would create' : 'Created'} ${created.slice(0, -1).join(', ')} and ${created.at(-1)}`
  return present === 0 ? `${said}.` : `${said}; ${thousands(present)} ${present === 1 ? 'is' : 'are'} there just so.`
}
