/* Queues that are not durable in RabbitMQ are volatile in Postbag: both lose their messages when the server ends, and the queues themselves
 * stay here. But dead letters stay among volatile queues, or among durable ones; so a queue that has or gets some is left durable. Pure. */
import type { Definitions } from '../../wire.ts'
import type { Report } from './finding.ts'
import { settled } from './policies.ts'

type Planned = Required<Definitions>

/** @param transient the names of the queues that are not durable in RabbitMQ */
export function withDurability(planned: Planned, transient: ReadonlySet<string>, report: Report): Planned['queues'] {
  const goThrough = reached(planned)
  return planned.queues.map((queue) => {
    if (!transient.has(queue.name)) return queue
    const { deadLetterQueue, deadLetterExchange } = settled(planned.policies, queue.name, queue)
    const hasLetters = deadLetterQueue ?? deadLetterExchange
    if (!hasLetters && !goThrough.has(queue.name)) return { ...queue, durability: 'volatile' }
    report(
      'note',
      `queue ${queue.name}`,
      'is not durable, but has to do with dead letters: here it keeps its messages over a crash',
    )
    return queue
  })
}

/** The queues that dead letters come to, as far as bindings say. */
function reached({ exchanges, queues, policies, bindings }: Planned): ReadonlySet<string> {
  const targets = new Set<string>()
  const passed = new Set<string>()
  const pass = (exchange: string | null | undefined): void => {
    if (!exchange || passed.has(exchange)) return
    passed.add(exchange)
    pass(exchanges.find(({ name }) => name === exchange)?.alternate)
    for (const binding of bindings.filter(({ source }) => source === exchange)) {
      if (binding.queue !== undefined) targets.add(binding.queue)
      pass(binding.exchange)
    }
  }
  for (const queue of queues) {
    const { deadLetterQueue, deadLetterExchange, deadLetterRoutingKey } = settled(policies, queue.name, queue)
    if (deadLetterQueue) targets.add(deadLetterQueue)
    // By the default exchange, and with a message's own key, they may come to any.
    if (deadLetterExchange !== 'default') pass(deadLetterExchange)
    else if (deadLetterRoutingKey) targets.add(deadLetterRoutingKey)
    else for (const { name } of queues) targets.add(name)
  }
  return targets
}
