/* Which messages: the filters of peek and redrive that mean the same in both. */
import type { Command } from 'commander'
import { defined, type Given } from '../client/effects.ts'
import type { DeadLetterReason, PeekRequest } from '../wire.ts'
import { duration, header, oneOf } from './values.ts'

export interface FilterOptions {
  readonly type?: string
  readonly header?: Readonly<Record<string, string>>
  readonly group?: string
  readonly reason?: DeadLetterReason
  readonly minAge?: number
  readonly maxAge?: number
}

type Filters = Pick<PeekRequest, 'type' | 'headers' | 'group' | 'reason' | 'minAgeSeconds' | 'maxAgeSeconds'>

const reasons: readonly DeadLetterReason[] = ['attempts', 'expired', 'rejected', 'overflow']

/** @param happened what an age is counted from, such as "were sent" */
export function withFilterOptions(command: Command, happened: string): Command {
  return command
    .option('--type <type>', 'only those of this type')
    .option('--header <name=value>', 'only those with this header; may be given several times', header)
    .option('--group <name>', 'only those of this group')
    .option('--reason <reason>', `only those that died of it: ${reasons.join(', ')}`, oneOf(reasons))
    .option('--min-age <time>', `only those that ${happened} at least so long ago: 90s, 5m, 12h …`, duration)
    .option('--max-age <time>', `only those that ${happened} at most so long ago`, duration)
}

export function filtersOf(options: FilterOptions): Given<Filters> {
  const { type, header: headers, group, reason, minAge: minAgeSeconds, maxAge: maxAgeSeconds } = options
  return defined({ type, headers, group, reason, minAgeSeconds, maxAgeSeconds })
}
