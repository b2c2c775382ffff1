/* The native HTTP door: what every endpoint has in common. An endpoint is declared once, with its schemas; from that come the route,
 * the checks (token and scope first, then path, query and body), the OpenAPI document and the answer to a wrong method. */
import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { getPath } from 'hono/utils/url'
import type { Access } from '../config.ts'
import type { Executor } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { maxRequestBytes } from '../limits.ts'
import type { Hub } from '../wakeup/hub.ts'
import type { Delivering } from '../webhooks/delivering.ts'
import { requireEndpointOf } from '../webhooks/own.ts'
import { authorize } from './auth.ts'
import { eventContent } from './event-schemas.ts'
import { fields } from './fields.ts'
import { isForPortals } from './portal.ts'
import { problemResponse } from './problem.ts'
import { EndpointName, ExchangeName, MessageIdParam, PolicyName, Problem, QueueName, ReplyIdParam } from './schemas.ts'
import type { Action } from './token.ts'
import { bytesOfBody, parseJson, queryOf, utf8, validate } from './validate.ts'

/** What a request needs, given with it: on Workers a connection must not outlive its request. */
export interface Dependencies {
  readonly executor: Executor
  readonly hub: Hub
  /** Told of work that goes on after the answer was given (a stream): until it is done, what came with the request must last. */
  readonly keep?: (work: Promise<unknown>) => void
  /** Where webhooks are delivered. */
  readonly delivering?: Delivering | undefined
}

/** What a line of the log tells. Never a body, a token or a header. */
export type Log = (line: Readonly<Record<string, string | number | undefined>>) => void

export interface DoorEnv {
  Bindings: Dependencies
  Variables: {
    requestId: string
    /** Of an answer that is a stream: resolves at its end, with the error that ended it, if one did. */
    streamed?: Promise<unknown>
  }
}

export type Door = OpenAPIHono<DoorEnv>

type Schema = z.ZodType

export interface Endpoint<Query extends Schema, Body extends Schema> {
  readonly method: 'get' | 'put' | 'post' | 'delete'
  /** OpenAPI's form: /v1/queues/{queue}, /v1/exchanges/{exchange}; {endpoint} is one
   * of webhooks, whose scope is that of its queue; {id} is that of a message, {reply} that of a reply. */
  readonly path: string
  /** What a generated client calls it: as ours does (`send`), with the thing it is of where that says too little (`createQueue`). */
  readonly operationId: string
  readonly summary: string
  readonly needs: Action
  readonly query?: Query
  readonly body?: Body
  /** True if the handler reads and checks body and query itself, because other content types than JSON are taken too. */
  readonly readsBody?: boolean
  /** True if the token may also be the query's access_token. */
  readonly tokenInQuery?: boolean
  readonly answer: Schema
  /** Which of the two may be CloudEvents, too. */
  readonly eventTypes?: 'request' | 'answer'
  /** Media type of the answer. Defaults to JSON's. */
  readonly answerType?: string
  /** Status of success. Defaults to 200. */
  readonly status?: number
  /** True if it answers with 201 where it made what the path names. */
  readonly creates?: boolean
  /** What is answered with 202, where there is no answer yet. */
  readonly answerLater?: Schema
}

/** What zod infers says `x?: number | undefined`; JSON has no undefined. */
type Given<T> = { [Key in keyof T]: Exclude<T[Key], undefined> }

export interface Input<Query extends Schema, Body extends Schema> extends Dependencies {
  /** The queue of the path; empty for an endpoint without one. */
  readonly queue: string
  /** The policy of the path; empty for an endpoint without one. */
  readonly policy: string
  /** The exchange of the path; empty for an endpoint without one. */
  readonly exchange: string
  /** The endpoint of webhooks of the path; empty for an endpoint without one. */
  readonly webhook: string
  /** Whose endpoints alone the caller may see (http/portal.ts); undefined: all. */
  readonly application: string | undefined
  /** The message id of the path; empty for an endpoint without one. */
  readonly id: string
  /** The reply id of the path; empty for an endpoint without one. */
  readonly reply: string
  readonly query: Given<z.infer<Query>>
  readonly body: Given<z.infer<Body>>
  readonly context: Context<DoorEnv>
}

export function createDoor(basePath?: string): Door {
  return new OpenAPIHono<DoorEnv>(
    basePath === undefined ? {} : { getPath: (request) => below(basePath, getPath(request)) },
  )
}

function below(basePath: string, path: string): string {
  return path.startsWith(`${basePath}/`) ? path.slice(basePath.length) : path
}

/** Declare an endpoint. */
export function endpoint<Query extends Schema, Body extends Schema>(
  door: Door,
  access: Access,
  declared: Endpoint<Query, Body>,
  handle: (input: Input<Query, Body>) => Promise<Response>,
): void {
  const { method, path, needs, query, body } = declared
  const hasQueue = path.includes('{queue}')
  const hasExchange = path.includes('{exchange}')
  const hasEndpoint = path.includes('{endpoint}')
  const hasPolicy = path.includes('{policy}')
  const hasId = path.includes('{id}')
  const hasReply = path.includes('{reply}')
  const forPortals = isForPortals(method, path)
  document(door, declared, {
    ...(hasQueue && { queue: QueueName }),
    ...(hasExchange && { exchange: ExchangeName }),
    ...(hasEndpoint && { endpoint: EndpointName }),
    ...(hasPolicy && { policy: PolicyName }),
    ...(hasId && { id: MessageIdParam }),
    ...(hasReply && { reply: ReplyIdParam }),
  })

  door.on(method.toUpperCase(), path.replace(/\{(\w+)\}/g, ':$1'), async (context) => {
    const given = context.req.param('endpoint')
    const ownQueue = given === undefined ? '' : `webhooks.${given}`
    const named = context.req.param('queue') ?? context.req.param('exchange') ?? ownQueue
    const tokenInQuery = declared.tokenInQuery ? context.req.query('access_token') : undefined
    const { executor, hub } = context.env
    const application = await authorize(access, context.req.raw, needs, named, { tokenInQuery, forPortals })
    const webhook = hasEndpoint ? validate(EndpointName, given, 'endpoint') : ''
    if (application !== undefined && hasEndpoint) await requireEndpointOf(executor, application, webhook)
    return handle({
      queue: hasQueue ? validate(QueueName, named, 'queue') : '',
      policy: hasPolicy ? validate(PolicyName, context.req.param('policy'), 'policy') : '',
      exchange: hasExchange ? validate(ExchangeName, named, 'exchange') : '',
      webhook,
      application,
      id: hasId ? validate(MessageIdParam, context.req.param('id'), 'id') : '',
      reply: hasReply ? validate(ReplyIdParam, context.req.param('reply'), 'id') : '',
      query: (declared.readsBody ? {} : validate(query ?? Nothing, queryOf(context), 'the query')) as Given<
        z.infer<Query>
      >,
      body: (declared.readsBody
        ? {}
        : validate(body ?? Nothing, parseJson(utf8(await bytesOfBody(context))), 'the request body')) as Given<
        z.infer<Body>
      >,
      context,
      executor,
      hub,
    })
  })
}

/** Answer 405 where the path is right and the method is not. Declared after all endpoints. */
export function refuseOtherMethods(door: Door): void {
  const methods = new Map<string, string[]>()
  for (const { method, path } of door.routes) {
    if (method !== 'ALL') methods.set(path, [...(methods.get(path) ?? []), method])
  }
  for (const [path, allowed] of methods) {
    door.all(path, (context) => {
      const { path: asked, method } = context.req
      const error = new QueueError('method_not_allowed', `${asked} takes ${allowed.join(', ')}, got ${method}`)
      return problemResponse(error, context.get('requestId'), { allow: allowed.join(', ') })
    })
  }
}

/** Whether the request says that its body is JSON of ours (and not, say, application/cloudevents+json). */
export function isJson(context: Context): boolean {
  return /^application\/json\s*(;|$)/i.test(context.req.header('content-type') ?? '')
}

/** An answer whose JSON text is there already. */
export function jsonText(context: Context<DoorEnv>, text: string): Response {
  return context.body(text, 200, { 'content-type': 'application/json' })
}

/** What is not declared may not be given: a purge with a filter that does not exist must not purge everything. */
const Nothing = fields({})

function scopeOf({ method, path, needs }: Endpoint<Schema, Schema>): string {
  const portal = isForPortals(method, path) ? ', or portal:{application} for endpoints of that application' : ''
  if (needs === 'admin') return `admin${portal}`
  if (path.includes('{endpoint}')) return `${needs}:webhooks.{endpoint}${portal}`
  return `${needs}:{${path.includes('{exchange}') ? 'exchange' : 'queue'}}`
}

function document(door: Door, declared: Endpoint<Schema, Schema>, inPath: Readonly<Record<string, Schema>>): void {
  const { method, path, operationId, summary, query, body, answer, answerLater } = declared
  const { answerType = 'application/json', status = 200, creates, eventTypes } = declared
  const json = (schema: Schema) => ({ content: { 'application/json': { schema } } })
  door.openAPIRegistry.registerPath({
    method,
    path,
    operationId,
    summary,
    description: `Needs the scope ${scopeOf(declared)}.`,
    security: [{ bearer: [] }],
    request: {
      params: z.object(inPath),
      ...(query && { query: query as z.ZodObject }),
      ...(body && {
        body: {
          /** An empty body counts as {}. (Asked when the document is: a schema's first use takes time, which a start has not.) */
          get required() {
            return !body.safeParse({}).success
          },
          description: `At most ${maxRequestBytes} bytes, without a content-encoding.`,
          content: {
            'application/json': { schema: body },
            ...(eventTypes === 'request' && eventContent),
            ...(declared.readsBody && { '*/*': { schema: { type: 'string', format: 'binary' } } }),
          },
        },
      }),
    },
    responses: {
      [status]: {
        description: 'Done.',
        content: { [answerType]: { schema: answer }, ...(eventTypes === 'answer' && eventContent) },
      },
      ...(creates && { 201: { description: 'Created.', ...json(answer) } }),
      ...(eventTypes === 'answer' && { 204: { description: 'One event was asked for, and there is none.' } }),
      ...(answerLater && { 202: { description: 'Not yet: ask later.', ...json(answerLater) } }),
      default: {
        description: 'Refused, or failed; `code` says why.',
        content: { 'application/problem+json': { schema: Problem } },
      },
    },
  })
}
