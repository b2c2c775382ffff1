/* /v1/queues: configuration, and what concerns a queue as a whole. */
import type { Access } from '../config.ts'
import { queueStats } from '../queue/look.ts'
import {
  createQueue,
  deleteQueue,
  describeQueue,
  listQueues,
  pauseQueue,
  purgeQueue,
  resumeQueue,
} from '../queue/queues.ts'
import { redrive } from '../queue/redrive.ts'
import { type Door, endpoint } from './door.ts'
import {
  Deleted,
  ListQuery,
  Purged,
  QueueConfig,
  QueueInfo,
  QueueListResponse,
  QueueStats,
  RedriveRequest,
  RedriveResponse,
} from './queue-schemas.ts'

export function mountQueueRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/queues/{queue}',
      operationId: 'createQueue',
      summary: 'Create a queue, or replace its configuration: what is not given gets its default.',
      needs: 'admin',
      body: QueueConfig,
      answer: QueueInfo,
      creates: true,
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
      operationId: 'queueInfo',
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
      operationId: 'deleteQueue',
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
      operationId: 'queues',
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
      operationId: 'purgeQueue',
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
      operationId: 'queueStats',
      summary: 'How many messages there are in which state, and how many come and go.',
      needs: 'receive',
      answer: QueueStats,
    },
    async ({ queue, executor, context }) => context.json(await queueStats(executor, queue)),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/pause',
      operationId: 'pauseQueue',
      summary: 'Hand out nothing any more, until it is resumed; sending and settling go on.',
      needs: 'admin',
      answer: QueueInfo,
    },
    async ({ queue, executor, context }) => context.json(await pauseQueue(executor, queue)),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/resume',
      operationId: 'resumeQueue',
      summary: 'Hand out messages again.',
      needs: 'admin',
      answer: QueueInfo,
    },
    async ({ queue, executor, hub, context }) => {
      const info = await resumeQueue(executor, queue)
      hub.poke(queue)
      return context.json(info)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/queues/{queue}/redrive',
      operationId: 'redrive',
      summary: 'Bring dead letters back: all, or those that fit, to where each came from or into another queue.',
      needs: 'admin',
      body: RedriveRequest,
      answer: RedriveResponse,
    },
    async ({ queue, body, executor, hub, context }) => {
      const done = await redrive(executor, queue, body)
      hub.poke(body.target ?? queue, done.redrivenMessages)
      return context.json(done)
    },
  )
}
