/* /v1/queues: configuration, and what concerns a queue as a whole. */
import type { Access } from '../config.ts'
import { queueStats } from '../queue/look.ts'
import { createQueue, deleteQueue, describeQueue, listQueues, purgeQueue } from '../queue/queues.ts'
import { type Door, endpoint } from './door.ts'
import { Deleted, ListQuery, Purged, QueueConfig, QueueInfo, QueueListResponse, QueueStats } from './schemas.ts'

export function mountQueueRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/queues/{queue}',
      summary: 'Create a queue, or replace its configuration: what is not given gets its default.',
      needs: 'admin',
      body: QueueConfig,
      answer: QueueInfo,
    },
    async ({ queue, body, executor, context }) => {
      const { info, created } = await createQueue(executor, queue, body)
      return context.json(info, created ? 201 : 200)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}',
      summary: 'The configuration of a queue.',
      needs: 'receive',
      answer: QueueInfo,
    },
    async ({ queue, executor, context }) => context.json(await describeQueue(executor, queue)),
  )
  endpoint(
    door,
    access,
    {
      method: 'delete',
      path: '/v1/queues/{queue}',
      summary: 'Delete a queue and all its messages.',
      needs: 'admin',
      answer: Deleted,
    },
    async ({ queue, executor, context }) => context.json({ deletedMessages: await deleteQueue(executor, queue) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues',
      summary: 'Queues by name, a page at a time.',
      needs: 'admin',
      query: ListQuery,
      answer: QueueListResponse,
    },
    async ({ query, executor, context }) => context.json(await listQueues(executor, query)),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/purge',
      summary: 'Delete all messages of a queue, leased and delayed ones too.',
      needs: 'admin',
      answer: Purged,
    },
    async ({ queue, executor, context }) => context.json({ purgedMessages: await purgeQueue(executor, queue) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/stats',
      summary: 'How many messages are ready, leased and delayed.',
      needs: 'receive',
      answer: QueueStats,
    },
    async ({ queue, executor, context }) => context.json(await queueStats(executor, queue)),
  )
}
