/* Of AWS's API, what a Lambda function calls to invoke itself: it checks the signature, answers 202, and invokes.
 * https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { isSigned } from './aws-signature.ts'

export interface LambdaApi {
  readonly url: string
  /** Resolves when what was invoked is over. */
  stop(): Promise<void>
}

export async function startLambdaApi(invoke: (event: object) => Promise<unknown>): Promise<LambdaApi> {
  const running = new Set<Promise<unknown>>()
  const server = createServer(async (request, response) => {
    const body = await text(request)
    const headers = request.headers as Record<string, string>
    const isInvocation = request.method === 'POST' && request.url === '/2015-03-31/functions/postbag/invocations'
    if (!isInvocation || headers['x-amz-invocation-type'] !== 'Event') {
      response.writeHead(404).end('{"Type":"User","Message":"Function not found"}')
    } else if (!(await isSigned(`http://${headers['host']}${request.url}`, headers, body))) {
      response
        .writeHead(403)
        .end('{"message":"The request signature we calculated does not match the signature you provided."}')
    } else {
      response.writeHead(202).end()
      const run = invoke(JSON.parse(body)).catch(() => {})
      running.add(run)
      run.finally(() => running.delete(run))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.close()
      server.closeAllConnections()
      await Promise.all(running)
    },
  }
}
