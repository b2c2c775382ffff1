/* AWS Lambda on this machine, as far as it is published: an HTTP front that makes events of requests, and behind it as many instances as there
 * are requests at the same time (lambda-instance.ts), each with AWS's own runtime client and the bundle that is deployed.
 *
 * As on the platform: what is larger than 6 MB does not get through, a function that takes too long is ended, and nobody is told that a client
 * has gone away. */
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { credentials } from './aws-signature.ts'
import { startLambdaApi } from './lambda-api.ts'
import { eventOf, type LambdaFront } from './lambda-event.ts'
import { type Instance, mostPayloadBytes, startInstance } from './lambda-instance.ts'
import { nodeBundle } from './node-bundle.ts'

export interface RunningLambda {
  /** Base address of its front on 127.0.0.1, without a slash at the end. */
  readonly url: string
  readonly gzipBytes: number
  /** Those that are not ended. */
  readonly instances: readonly Instance[]
  /** Invoke it directly; what it returns. */
  invoke(event: object): Promise<unknown>
  stop(): Promise<void>
}

export interface LambdaOptions {
  readonly env: Readonly<Record<string, string>>
  /** Defaults to "function URL". */
  readonly front?: LambdaFront
  /** Which export. Defaults to "handler". A "streamHandler" stands behind a function URL with RESPONSE_STREAM. */
  readonly handler?: string
  /** Defaults to 30000. */
  readonly timeoutMillis?: number
  readonly onLog?: (line: string) => void
}

/** What a handler returns to a front. */
interface Result {
  readonly statusCode: number
  readonly headers?: Record<string, string>
  readonly cookies?: string[]
  readonly body?: string
  readonly isBase64Encoded?: boolean
}

export async function startLambda(entry: string, options: LambdaOptions): Promise<RunningLambda> {
  const { env, front = 'function URL', handler = 'handler', timeoutMillis = 30_000, onLog = console.log } = options
  const { code, gzipBytes } = await nodeBundle(entry)
  const folder = await mkdtemp(join(tmpdir(), 'postbag-lambda-'))
  await writeFile(join(folder, 'index.js'), code)
  const free: Instance[] = []
  const instances = new Set<Instance>()
  const api = await startLambdaApi((event) => invoke(event, async (response) => void (await text(response))))
  const inside = { ...credentials, AWS_ENDPOINT_URL_LAMBDA: api.url, ...env }

  async function invoke(event: object, onResponse: (response: IncomingMessage) => Promise<void>): Promise<void> {
    const instance = free.pop() ?? (await startInstance({ folder, handler, env: inside, timeoutMillis, onLog }))
    instances.add(instance)
    try {
      await instance.invoke(event, onResponse)
    } finally {
      if (instance.isAlive) free.push(instance)
      else instances.delete(instance)
    }
  }

  const server = createServer(async (request, response) => {
    response.on('error', () => {})
    try {
      const event = eventOf(front, request, await buffer(request))
      if (JSON.stringify(event).length > mostPayloadBytes) {
        response.writeHead(413, { 'content-type': 'application/json' }).end('{"Message":"Request Entity Too Large"}')
        return
      }
      if (handler === 'streamHandler') {
        await invoke(event, (stream) => passOn(stream, response))
      } else {
        const result = (await returned((onResponse) => invoke(event, onResponse))) as Result
        writeHead(response, result).end(Buffer.from(result.body ?? '', result.isBase64Encoded ? 'base64' : 'utf8'))
      }
    } catch (error) {
      onLog(String(error))
      if (!response.headersSent) response.writeHead(502, { 'content-type': 'text/plain' })
      response.end('Internal Server Error')
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    gzipBytes,
    get instances() {
      return [...instances]
    },
    invoke: (event) => returned((onResponse) => invoke(event, onResponse)),
    async stop() {
      server.closeAllConnections()
      server.close()
      await api.stop()
      await Promise.all([...instances].map((instance) => instance.stop()))
      await rm(folder, { recursive: true })
    },
  }
}

/** The answer of a handler that does not stream, once its instance is free again. */
async function returned(
  invoke: (onResponse: (response: IncomingMessage) => Promise<void>) => Promise<void>,
): Promise<unknown> {
  let answer = ''
  await invoke(async (response) => {
    answer = await text(response)
  })
  if (answer.length > mostPayloadBytes) throw new Error('Response payload size exceeded maximum allowed payload size')
  return JSON.parse(answer)
}

/** A stream begins with what the head is made of, as JSON, and eight zeros.
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html */
async function passOn(stream: IncomingMessage, response: ServerResponse): Promise<void> {
  let gathered = Buffer.alloc(0)
  for await (const chunk of stream) {
    if (response.headersSent) {
      response.write(chunk)
      continue
    }
    gathered = Buffer.concat([gathered, chunk])
    const end = gathered.indexOf(Buffer.alloc(8))
    if (end < 0) continue
    writeHead(response, JSON.parse(gathered.subarray(0, end).toString()) as Result)
    response.write(gathered.subarray(end + 8))
  }
  response.end()
}

function writeHead(response: ServerResponse, { statusCode, headers = {}, cookies = [] }: Result): ServerResponse {
  return response.writeHead(statusCode, { ...headers, ...(cookies.length > 0 && { 'set-cookie': cookies }) })
}
