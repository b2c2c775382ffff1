/* A receiver of webhooks as somebody would write it: an HTTP server on 127.0.0.1, which notes what it got. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { StandardWebhook } from '../runtimes/webhook-verifiers.ts'

export interface ReceivedRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Receiver {
  readonly url: string
  readonly got: readonly ReceivedRequest[]
  /** Whether it leaves requests unanswered from now on. */
  hangs: boolean
  stop(): Promise<void>
}

/** The JSON of a request, if its signature is good; else an error. */
export function verified(
  secret: string | undefined,
  request: Pick<ReceivedRequest, 'headers' | 'body'> | undefined,
): unknown {
  return new StandardWebhook(secret ?? '').verify(request?.body ?? '', { ...request?.headers } as Record<
    string,
    string
  >)
}

/** Answers 200 and "thanks", unless it is told otherwise. */
export async function startReceiver(
  answer: (request: ReceivedRequest, response: ServerResponse) => void = (_, response) => response.end('thanks'),
): Promise<Receiver> {
  const got: ReceivedRequest[] = []
  const server = createServer(async (incoming, response) => {
    let body = ''
    for await (const chunk of incoming.setEncoding('utf8')) body += chunk
    const request = { path: incoming.url ?? '', headers: incoming.headers, body }
    got.push(request)
    if (!receiver.hangs) answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    got,
    hangs: false,
    async stop() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return receiver
}
