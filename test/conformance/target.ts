/* What a case sees of the runtime it runs against, and the plain HTTP with which it talks to it. */
import assert from 'node:assert/strict'
import type { WebhookSettings } from '../../src/config.ts'
import { type ErrorCode, errorStatus } from '../../src/errors.ts'
import { signToken } from '../../src/http/token.ts'
import type { Problem } from '../../src/wire.ts'
import type { TestDatabase } from '../support/database.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'
import type { Receiver } from '../webhooks/webhook-receiver.ts'
import { assertDocumented } from './documented.ts'

/** What not every platform gives: to tell the server when a client goes away; to hand on requests of 16 MiB, and bytes as they are where
 * their type says text; to hand on an answer while it is written. */
export type Ability = 'sees clients leave' | 'hands on large requests' | 'hands on broken text' | 'streams answers'

/** One claim about the HTTP door, true on every runtime that can do what it needs. */
export interface Case {
  readonly claim: string
  readonly run: (target: Target) => Promise<void>
  readonly needs?: Ability | readonly Ability[]
  /** What is true instead, where the platform cannot do this. */
  readonly without?: Ability
  /** True if it disturbs others: it runs after them, alone. */
  readonly alone?: boolean
}

/** A running server with access by token, over a database of its own. */
export interface Target {
  /** Without a slash at the end. */
  readonly url: string
  /** What it signs tokens with. */
  readonly secret: string
  /** Its settings of webhooks. */
  readonly webhooks: WebhookSettings
  /** A token that may do everything. */
  readonly token: string
  /** Its database, from inside. */
  readonly database: TestDatabase
  /** A receiver of webhooks. What ends in /503 it answers with 503, and so on; the rest with 200. */
  readonly receiver: Receiver
  /** What stands between it and the database. */
  readonly proxy: TcpProxy
  /** What it has logged, oldest first. */
  readonly log: readonly string[]
  /** Send a request, and go away after so many milliseconds, before the end of the answer. */
  leave(path: string, request: RequestInit, afterMillis: number): Promise<void>
}

export interface Call {
  /** An object is sent as JSON; a text or bytes as they are. */
  readonly body?: object | string
  /** Defaults to application/json; null: none. */
  readonly contentType?: string | null
  /** Defaults to the one that may do everything; null: none. */
  readonly token?: string | null
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export async function call(target: Target, method: string, path: string, options: Call = {}): Promise<Answer> {
  const response = await fetch(`${target.url}${path}`, requestOf(target, method, options))
  assertDocumented(method, path, response.status)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** The same as fetch takes it. */
export function requestOf(target: Target, method: string, options: Call): RequestInit {
  const { body, contentType = 'application/json', token = target.token, headers = {} } = options
  const raw = typeof body === 'string' || body instanceof Uint8Array
  return {
    method,
    headers: {
      ...(body !== undefined && contentType !== null && { 'content-type': contentType }),
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: raw ? (body as BodyInit) : JSON.stringify(body) }),
  }
}

/** The JSON of an answer that must have this status. */
export function json<Shape>(answer: Answer, status = 200): Shape {
  assert.equal(answer.status, status, answer.text)
  assert.match(answer.headers.get('content-type') ?? '', /^application\/json\b/)
  return JSON.parse(answer.text) as Shape
}

/** The answer is a problem of RFC 9457 with this code, that code's status, and a detail that matches. */
export function assertProblem(answer: Answer, code: ErrorCode, detail: RegExp = /./): Problem {
  assert.equal(answer.headers.get('content-type'), 'application/problem+json', answer.text)
  const problem = JSON.parse(answer.text) as Problem
  assert.deepEqual(
    { status: answer.status, code: problem.code, type: problem.type, title: problem.title, inside: problem.status },
    {
      status: errorStatus[code],
      code,
      type: 'about:blank',
      title: code.replaceAll('_', ' '),
      inside: errorStatus[code],
    },
    answer.text,
  )
  assert.match(problem.detail, detail)
  assert.ok(problem.requestId)
  assert.equal(answer.headers.get('x-request-id'), problem.requestId)
  return problem
}

/** A token of this server. */
export function tokenFor(target: Target, scopes: readonly string[], expiresAt?: Date): Promise<string> {
  return signToken(target.secret, { scopes, now: new Date(), ...(expiresAt && { expiresAt }) })
}
