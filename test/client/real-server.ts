/* The real server over a real Postgres, until the test file ends, and a queue for each test. */
import { after } from 'node:test'
import type { NodeServer } from '../../functions/node.ts'
import { createEndpointClient, type EndpointClient } from '../../src/client/endpoints.ts'
import { type Client, createClient, type MessageState, type Queue, type QueueConfig } from '../../src/client/index.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { until } from '../support/until.ts'
import { onlyGrace } from './manual-clock.ts'

export interface RealServer {
  readonly url: string
  /** Sleeps only as long as a stopping consumer must, and tries nothing twice. */
  readonly client: Client
  /** The same for endpoints of webhooks. */
  readonly endpoints: EndpointClient
  /** One that no other test has. */
  createQueue(config?: QueueConfig): Promise<Queue>
  /** Of all messages of a queue, in the order they were sent. */
  states(queue: Queue): Promise<readonly MessageState[]>
  /** Resolves when all messages of a queue have expired. */
  expired(queue: Queue): Promise<void>
}

const servers: NodeServer[] = []

after(async () => {
  for (const server of servers) await server.stop()
})

export async function startRealServer(): Promise<RealServer> {
  const database = await createDatabase()
  const server = await startOpenServer(database.url)
  servers.push(server)
  const options = { url: server.url, sleep: onlyGrace, retries: 0 } as const
  const client = createClient(options)
  let made = 0
  return {
    url: server.url,
    client,
    endpoints: createEndpointClient(options),
    async createQueue(config) {
      const queue = client.queue(`queue-${++made}`)
      await queue.create(config)
      return queue
    },
    async states(queue) {
      return (await queue.peek({ max: 1000 })).messages.map(({ state }) => state)
    },
    async expired(queue) {
      await until('the messages to expire', async () => (await queue.peek()).messages.length === 0 || undefined)
    },
  }
}
