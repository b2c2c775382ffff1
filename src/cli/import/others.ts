/* What an import would change besides what it makes: a policy counts for all queues that it matches, also those that were there before and that
 * the file knows nothing of. A length that drops the oldest would delete messages of theirs at the next send. */
import type { Client } from '../../client/client.ts'
import type { Definitions, PolicyInfo, QueueInfo } from '../../wire.ts'
import { counted } from '../output.ts'
import { bySpecificity, matches } from './pattern.ts'

type Definition = Required<Definitions>['policies'][number]

/** A policy of the file, and what of others' it would change. */
export interface Change {
  readonly policy: string
  readonly pattern: string
  readonly queues: number
  /** The first few by name. */
  readonly names: readonly string[]
}

const mostNames = 5

/** Queues that are there and not in the file, by the policies that would count for them. Looks only. */
export async function changesOfOthers(
  client: Pick<Client, 'policies' | 'queues'>,
  { policies, queues }: Required<Definitions>,
): Promise<readonly Change[]> {
  if (policies.length === 0) return []
  const present = new Map((await client.policies()).map((policy) => [policy.name, policy]))
  const added = policies.filter(({ name }) => !present.has(name))
  const ofFile = new Set(queues.map(({ name }) => name))
  const changed = new Map<Definition, string[]>(added.map((policy) => [policy, []]))
  if (added.length > 0) {
    for await (const queue of client.queues()) {
      if (ofFile.has(queue.name)) continue
      for (const [policy, names] of changed) if (wouldCount(policy, queue, present)) names.push(queue.name)
    }
  }
  return [...changed]
    .filter(([, names]) => names.length > 0)
    .map(([{ name, pattern }, names]) => ({
      policy: name,
      pattern,
      queues: names.length,
      names: names.slice(0, mostNames),
    }))
}

/** Whether a policy would say any setting of a queue: neither the queue itself nor a more specific policy does. (What it then says may be what
 * the queue has already; and of several new ones each counts.) */
function wouldCount(policy: Definition, queue: QueueInfo, present: ReadonlyMap<string, PolicyInfo>): boolean {
  if (!matches(policy.pattern, queue.name)) return false
  return (Object.keys(policy.settings) as (keyof QueueInfo['origins'])[]).some((field) => {
    const origin = queue.origins[field]
    const other = origin?.startsWith('policy ') ? present.get(origin.slice('policy '.length)) : undefined
    return origin !== 'queue' && !(other && bySpecificity(other, policy) < 0)
  })
}

/** A line for each policy. */
export function changesSaid(changes: readonly Change[]): string {
  return changes
    .map(({ policy, pattern, queues, names }) => {
      const more = queues > names.length ? ' …' : ''
      return `  policy ${policy} for ${pattern}: ${counted(queues, 'queue')}: ${names.join(', ')}${more}`
    })
    .join('\n')
}
