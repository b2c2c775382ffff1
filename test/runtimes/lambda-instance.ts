/* One instance of a Lambda function: a process with AWS's runtime client and the handler, and the Runtime API that it asks for invocations. It
 * has one at a time, and is frozen (SIGSTOP) while it has none. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

export interface LambdaFunction {
  /** Where its code lies, as index.js. */
  readonly folder: string
  /** Which export of it. */
  readonly handler: string
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMillis: number
  readonly onLog: (line: string) => void
}

export interface Instance {
  /** Resolves when it is free again. @throws Error if the function failed, or took too long and was ended for it. */
  invoke(event: object, onResponse: (response: IncomingMessage) => Promise<void>): Promise<void>
  readonly isAlive: boolean
  /** From its start until it asked for its first invocation. */
  readonly initMillis: Promise<number>
  stop(): Promise<void>
}

/** What one answer may weigh, unless it is a stream. */
export const mostPayloadBytes = 6 * 1024 * 1024

interface Invocation {
  readonly id: string
  readonly event: string
  readonly onResponse: (response: IncomingMessage) => Promise<void>
  failed?: string
}

const client = new URL('node_modules/aws-lambda-ric/index.mjs', import.meta.url).pathname
const loader = new URL('lambda-runtime.ts', import.meta.url).href

export async function startInstance({ folder, handler, env, timeoutMillis, onLog }: LambdaFunction): Promise<Instance> {
  const started = performance.now()
  const initialized = Promise.withResolvers<number>()
  let invocation: Invocation | undefined
  let asked: ServerResponse | undefined
  let free = Promise.withResolvers<void>()

  const api = createServer(async (request, response) => {
    const [, id, verb] = /invocation\/([^/]+)\/(response|error)$/.exec(request.url ?? '') ?? []
    if (request.url?.endsWith('/invocation/next')) {
      initialized.resolve(performance.now() - started)
      asked = response
      child.kill('SIGSTOP')
      free.resolve()
    } else if (invocation && id === invocation.id && verb === 'response') {
      await invocation.onResponse(request)
      response.writeHead(202).end('{}')
    } else {
      const said = await text(request)
      onLog(said)
      if (invocation) invocation.failed = said
      response.writeHead(202).end('{}')
    }
  })
  // A frozen process would not see that an idle connection was closed.
  api.keepAliveTimeout = 0
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')

  const child: ChildProcess = spawn(process.execPath, ['--import', loader, client], {
    env: {
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(api.address() as AddressInfo).port}`,
      AWS_LAMBDA_FUNCTION_NAME: 'postbag',
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '512',
      AWS_LAMBDA_LOG_GROUP_NAME: '/aws/lambda/postbag',
      AWS_LAMBDA_LOG_STREAM_NAME: '2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef',
      AWS_REGION: 'eu-central-1',
      LAMBDA_TASK_ROOT: folder,
      _HANDLER: `index.${handler}`,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) {
    // A line is the time, the request's id, the level and what was logged, with tabs in between.
    if (stream) createInterface(stream).on('line', (line) => onLog(line.split('\t').slice(3).join('\t') || line))
  }
  const ended = once(child, 'exit')
  child.once('exit', () => {
    free.reject(new Error('the process ended'))
    initialized.reject(new Error('the process ended'))
    api.closeAllConnections()
    api.close()
  })
  initialized.promise.catch(() => {})
  free.promise.catch(() => {})

  return {
    initMillis: initialized.promise,
    get isAlive() {
      return child.exitCode === null && child.signalCode === null
    },
    async invoke(event, onResponse) {
      await free.promise
      free = Promise.withResolvers()
      free.promise.catch(() => {})
      const current: Invocation = { id: randomUUID(), event: JSON.stringify(event), onResponse }
      invocation = current
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMillis)
      asked
        ?.writeHead(200, {
          'content-type': 'application/json',
          'lambda-runtime-aws-request-id': current.id,
          'lambda-runtime-deadline-ms': Date.now() + timeoutMillis,
          'lambda-runtime-invoked-function-arn': 'arn:aws:lambda:eu-central-1:123456789012:function:postbag',
        })
        .end(current.event)
      child.kill('SIGCONT')
      await free.promise.finally(() => clearTimeout(timer))
      if (current.failed !== undefined) throw new Error(current.failed)
    },
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
