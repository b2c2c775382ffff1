/* postbag endpoint attempts: what was tried, the newest first. */
import type { Command } from 'commander'
import type { DeliveryAttempt } from '../../wire.ts'
import { table, writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { oneOf, wholeNumber } from '../values.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

interface AttemptsOptions extends EndpointOptions {
  readonly outcome?: 'delivered' | 'failed'
  readonly id?: string
  readonly max: number
}

export function addEndpointAttempts(group: Command): void {
  const command = group
    .command('attempts')
    .description('Show the attempts to deliver, the newest first. With --json also what the receiver answered.')
    .argument('<name>')
    .option('--outcome <outcome>', 'only those that came out so: delivered, failed', oneOf(['delivered', 'failed']))
    .option('--id <id>', 'only those of this delivery')
    .option('--max <number>', 'most attempts (default: 20)', wholeNumber, 20)
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(attempts)
}

async function attempts(name: string, { outcome, id, max, json, ...options }: AttemptsOptions): Promise<void> {
  await useEndpoints(options, async ({ endpoint }) => {
    const rows: (readonly string[])[] = []
    for await (const attempt of endpoint(name).attempts({ outcome, id, max })) {
      if (json) await writeJson(attempt)
      else rows.push(rowOf(attempt))
    }
    if (json) return
    if (rows.length === 0) return writeLine('There was no such attempt.')
    await writeLine(table(['STARTED AT', 'ID', 'EVENT', 'TYPE', 'TRY', 'TOOK', 'OUTCOME', 'BECAUSE'], rows))
  })
}

function rowOf(attempt: DeliveryAttempt): readonly string[] {
  const { eventId = '-', type = '-', status, error, detail } = attempt
  const because = [status, error === 'status' ? undefined : error, detail].filter((word) => word !== undefined)
  return [
    attempt.startedAt,
    attempt.id,
    eventId,
    type,
    String(attempt.number),
    `${attempt.millis} ms`,
    attempt.outcome,
    because.join(' '),
  ]
}
