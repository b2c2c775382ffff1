/* postbag endpoint show: an endpoint's configuration, how it is, and how it does. */
import type { Command } from 'commander'
import type { EndpointInfo, EndpointStatistics } from '../../wire.ts'
import { listed, spoken, thousands, writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, stateOf, useEndpoints } from './use.ts'

export function addEndpointShow(group: Command): void {
  const command = group
    .command('show')
    .description('Show an endpoint, how it is, and how its last attempts came out.')
    .argument('<name>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(showEndpoint)
}

async function showEndpoint(name: string, options: EndpointOptions): Promise<void> {
  await useEndpoints(options, async ({ endpoint }) => {
    const info = await endpoint(name).info()
    const statistics = await endpoint(name).statistics()
    if (options.json) return writeJson({ ...info, statistics })
    await writeLine(listed([...configuration(info), ...numbers(statistics)]))
  })
}

/** Names of headers only: their values may be secrets. */
function configuration(info: EndpointInfo): readonly (readonly [string, string])[] {
  const { ratePerSecond, rateBurst } = info
  return [
    ['name', info.name],
    ['state', stateOf(info)],
    ['breaker', info.breaker],
    ['url', info.url],
    ['exchange', info.exchange],
    ['event types', info.eventTypes.join(', ')],
    ['application', info.application ?? '-'],
    ['filter', info.filter ? JSON.stringify(info.filter) : '-'],
    ['headers', Object.keys(info.headers).join(', ') || '-'],
    ['description', info.description ?? '-'],
    [
      'metadata',
      Object.entries(info.metadata)
        .map((pair) => pair.join('='))
        .join(', ') || '-',
    ],
    ['timeout', spoken(info.timeoutSeconds)],
    ['retries', info.retriesSeconds.map(spoken).join(', ') || 'none'],
    ['rate', ratePerSecond === undefined ? 'no limit' : `${ratePerSecond}/s`],
    ...(rateBurst === undefined ? [] : [['rate burst', thousands(rateBurst)] as const]),
    ['concurrency', thousands(info.concurrency)],
    ['order', info.order],
    ['failures', info.failingSince ? `${thousands(info.failures)}, since ${info.failingSince}` : 'none'],
    ['created at', info.createdAt],
    ['updated at', info.updatedAt],
  ]
}

function numbers({
  successRate,
  p50Millis,
  p95Millis,
  ...counts
}: EndpointStatistics): readonly (readonly [string, string])[] {
  const share = successRate === undefined ? '' : `, ${Math.round(successRate * 1000) / 10} % arrived`
  return [
    ['waiting', thousands(counts.waiting) + (counts.oldestReadyAt ? `, since ${counts.oldestReadyAt}` : '')],
    ['under way', thousands(counts.leased)],
    ['dead letters', thousands(counts.dead)],
    ['last attempts', thousands(counts.attempts) + share],
    ['time taken', p50Millis === undefined ? '-' : `half ${p50Millis} ms at most, 95 % ${p95Millis} ms`],
  ]
}
