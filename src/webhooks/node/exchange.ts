/* One request to one address, and what is read of its answer. Bounds everything that comes: interim answers, the head, the body; the time
 * is the signal's. A connection goes back to its agent only if both sides have said all and the answer was short; else it is
 * destroyed. */
import { type Agent, type ClientRequest, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { SecureContextOptions } from 'node:tls'
import { maxAnswerHeadBytes, maxInterimAnswers, maxReadBytes } from '../../limits.ts'
import { type AnswerHead, headOf, keepBody } from '../answer.ts'
import { AttemptFailure, type Sending, type Sent } from '../attempt.ts'
import { failureOf } from './failures.ts'

export type Exchange =
  | ({ readonly kind: 'answered' } & Sent)
  /** `unconnected`: nothing was sent. `stale`: a connection from before was found closed, without a byte of an answer. */
  | { readonly kind: 'unconnected' | 'stale' | 'failed'; readonly failure: AttemptFailure; readonly isResent: boolean }

export interface Way {
  readonly address: string
  readonly agent: Agent
  /** Certificates that are trusted instead of the machine's. */
  readonly ca: string | undefined
  /** How long connecting may take, in milliseconds. Undefined: until the signal. */
  readonly connectMillis: number | undefined
}

export function exchange(sending: Sending, way: Way): Promise<Exchange> {
  const { signal, now } = sending
  const { promise, resolve } = Promise.withResolvers<Exchange>()
  const body = keepBody()
  let head: AnswerHead | undefined
  let stage: 'connecting' | 'connected' | 'reused' = 'connecting'
  let interims = 0
  let bytesBefore = 0
  let isResent = false

  const request = open(sending, way)
  const slow = () => request.destroy(new AttemptFailure('connection', `no connection within ${way.connectMillis} ms`))
  const timer = way.connectMillis === undefined ? undefined : setTimeout(slow, way.connectMillis)
  const onAbort = () => {
    settle(signal.reason)
    request.destroy()
  }
  /** The first call decides. */
  const settle = (end: 'complete' | Error) => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    if (head) return resolve({ kind: 'answered', head, body, isComplete: end === 'complete', isResent })
    const failure = failureOf(end)
    const isStale = stage === 'reused' && failure.error === 'connection' && request.socket?.bytesRead === bytesBefore
    resolve({ kind: stage === 'connecting' ? 'unconnected' : isStale ? 'stale' : 'failed', failure, isResent })
  }
  const give = (failure: AttemptFailure) => {
    settle(failure)
    request.destroy()
  }

  request.once('socket', (socket) => {
    if (!request.reusedSocket) {
      socket.once('connect', () => {
        stage = 'connected'
        clearTimeout(timer)
      })
      return
    }
    stage = 'reused'
    clearTimeout(timer)
    bytesBefore = socket.bytesRead
    // Deno replaces a connection that it finds closed by itself, even if an answer had begun.
    request.once('socket', () => {
      stage = 'connected'
      isResent = socket.bytesRead === bytesBefore
      if (!isResent) give(new AttemptFailure('connection', 'the connection was closed in the middle of an answer'))
    })
  })
  request.on('information', () => {
    if (++interims > maxInterimAnswers)
      give(new AttemptFailure('protocol', `more than ${maxInterimAnswers} interim answers`))
  })
  request.on('upgrade', (_answer, socket) => {
    socket.destroy()
    give(new AttemptFailure('protocol', 'the receiver changes the protocol'))
  })
  request.on('response', (answer) => {
    head = headOf(answer.statusCode ?? 0, pairsOf(answer.rawHeaders), now)
    answer.on('data', (bytes: Uint8Array) => {
      if (body.take(bytes) <= maxReadBytes) return
      settle(new Error('long'))
      request.destroy()
    })
    answer.on('end', () => {
      settle('complete')
      // Answered before it has read the request: who goes on sending would wait for a reader.
      if (!request.writableFinished) request.destroy()
    })
    answer.on('error', settle)
  })
  request.on('error', settle)
  request.on('close', () => settle(new AttemptFailure('connection', 'the connection was closed before an answer')))
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  else request.end(sending.body)
  return promise
}

/** To the address, in the name of the host: for the receiver (Host), and for its certificate (SNI and the names in it). */
function open({ url, headers, body }: Sending, { address, agent, ca }: Way): ClientRequest {
  const options = {
    method: 'POST',
    host: address,
    port: url.port,
    path: url.path,
    setHost: false,
    headers: { host: url.authority, ...headers, 'content-length': String(byteLength(body)) },
    agent,
    maxHeaderSize: maxAnswerHeadBytes,
  }
  if (!url.isSecure) return requestHttp(options)
  const trust: SecureContextOptions = { minVersion: 'TLSv1.2', ...(ca !== undefined && { ca }) }
  const name = url.isAddress ? {} : { servername: url.host }
  return requestHttps({ ...options, ...trust, ...name, rejectUnauthorized: true })
}

function byteLength(body: string | Uint8Array): number {
  return typeof body === 'string' ? new TextEncoder().encode(body).length : body.length
}

function pairsOf(raw: readonly string[]): readonly (readonly [string, string])[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as const] : []))
}
