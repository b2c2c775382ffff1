/* /v1/queues/{queue}/stream: messages as they come, for a browser's EventSource. */
import type { Access } from '../config.ts'
import { receive } from '../queue/receive.ts'
import { giveBack } from '../queue/settle.ts'
import { openStream } from '../wakeup/stream.ts'
import { type Door, endpoint } from './door.ts'
import { eventStream, eventText, heartbeat, opening } from './event-stream.ts'
import { messageJson } from './message-json.ts'
import { problemOf } from './problem.ts'
import { EventStream, StreamQuery } from './stream-schemas.ts'

/** The door's handle runs each statement as a transaction of its own. */
const alone = { alone: true }

const headers = {
  'content-type': eventStream,
  // The token may be in the address (RFC 6750, section 2.3).
  'cache-control': 'private, no-store, no-transform',
  'x-accel-buffering': 'no',
  // A browser that comes again on the connection of a stopping server would be refused, and a refusal is final to it.
  connection: 'close',
}

export function mountStreamRoute(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/stream',
      operationId: 'stream',
      summary: 'Messages as they come, as server-sent events: leased, or with autoAck at most once.',
      needs: 'receive',
      query: StreamQuery,
      tokenInQuery: true,
      answer: EventStream,
      answerType: eventStream,
    },
    async ({ queue, query, executor, hub, context }) => {
      // Hono answers HEAD as GET without the body; nobody would get what a look takes.
      if (context.req.method === 'HEAD') return context.body(null, 200, headers)

      const { max = 10, seconds = 25, heartbeatSeconds = 15, ...request } = query
      const { body, ended } = await openStream(hub, {
        queue,
        max,
        seconds,
        heartbeatSeconds,
        signal: context.req.raw.signal,
        look: () => receive(executor, queue, { ...request, max }, alone),
        giveBack: (messages) => giveBack(executor, queue, messages, alone),
        texts: {
          opening,
          heartbeat,
          message: (message) => eventText(messageJson(message), { id: message.id }),
          problem: (error) =>
            eventText(JSON.stringify(problemOf(error, context.get('requestId'))), { name: 'problem' }),
        },
      })
      context.set('streamed', ended)
      return context.body(body, 200, headers)
    },
  )
}
