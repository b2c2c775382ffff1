/* The server as a service: health, self-description, request ids, the log. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { lineOf, linesOf } from './request-log.ts'
import { assertProblem, type Case, call, json, type Target } from './target.ts'
import { newQueue } from './test-queue.ts'

/** The contract: every endpoint. */
const endpoints = [
  'DELETE /v1/endpoints/{endpoint}',
  'DELETE /v1/exchanges/{exchange}',
  'DELETE /v1/exchanges/{exchange}/bindings',
  'DELETE /v1/policies/{policy}',
  'DELETE /v1/queues/{queue}',
  'GET /healthz',
  'GET /readyz',
  'GET /v1/endpoints',
  'GET /v1/endpoints/{endpoint}',
  'GET /v1/endpoints/{endpoint}/attempts',
  'GET /v1/endpoints/{endpoint}/statistics',
  'GET /v1/exchanges',
  'GET /v1/exchanges/{exchange}',
  'GET /v1/exchanges/{exchange}/bindings',
  'GET /v1/policies',
  'GET /v1/policies/{policy}',
  'GET /v1/queues',
  'GET /v1/queues/{queue}',
  'GET /v1/queues/{queue}/bindings',
  'GET /v1/queues/{queue}/messages',
  'GET /v1/queues/{queue}/messages/{id}',
  'GET /v1/queues/{queue}/replies/{reply}',
  'GET /v1/queues/{queue}/stats',
  'GET /v1/queues/{queue}/stream',
  'POST /v1/deliver',
  'POST /v1/endpoints/{endpoint}/disable',
  'POST /v1/endpoints/{endpoint}/enable',
  'POST /v1/endpoints/{endpoint}/pause',
  'POST /v1/endpoints/{endpoint}/recover',
  'POST /v1/endpoints/{endpoint}/resend',
  'POST /v1/endpoints/{endpoint}/resume',
  'POST /v1/endpoints/{endpoint}/secret/rotate',
  'POST /v1/endpoints/{endpoint}/test',
  'POST /v1/exchanges/{exchange}/publish',
  'POST /v1/exchanges/{exchange}/route',
  'POST /v1/import',
  'POST /v1/maintain',
  'POST /v1/queues/{queue}/ack',
  'POST /v1/queues/{queue}/extend',
  'POST /v1/queues/{queue}/messages',
  'POST /v1/queues/{queue}/nack',
  'POST /v1/queues/{queue}/pause',
  'POST /v1/queues/{queue}/purge',
  'POST /v1/queues/{queue}/receive',
  'POST /v1/queues/{queue}/redrive',
  'POST /v1/queues/{queue}/reply',
  'POST /v1/queues/{queue}/request',
  'POST /v1/queues/{queue}/resume',
  'PUT /v1/endpoints/{endpoint}',
  'PUT /v1/exchanges/{exchange}',
  'PUT /v1/exchanges/{exchange}/bindings',
  'PUT /v1/policies/{policy}',
  'PUT /v1/queues/{queue}',
]

interface OpenApi {
  readonly openapi: string
  readonly info: { readonly title: string; readonly version: string }
  readonly components: { readonly schemas: object; readonly securitySchemes: object }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

interface Operation {
  readonly summary: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
    readonly schema: object
  }[]
  readonly requestBody?: { readonly content: object }
  readonly responses: Readonly<Record<string, { readonly description: string }>>
  readonly security?: readonly object[]
}

async function openApi(target: Target): Promise<OpenApi> {
  return json<OpenApi>(await call(target, 'GET', '/openapi.json', { token: null }))
}

function operations({ paths }: OpenApi): readonly (readonly [path: string, method: string, operation: Operation])[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => [path, method.toUpperCase(), operation] as const),
  )
}

/** Every "$ref" in it. */
function references(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  const here = '$ref' in value && typeof value.$ref === 'string' ? [value.$ref] : []
  return [...here, ...Object.values(value).flatMap(references)]
}

export const serviceCases: readonly Case[] = [
  {
    claim: '/healthz says that the process lives, to everybody',
    async run(target) {
      const answer = await call(target, 'GET', '/healthz', { token: null })

      assert.equal(json<{ status: string }>(answer).status, 'ok')
      assert.equal((await call(target, 'HEAD', '/healthz', { token: null })).status, 200)
    },
  },
  {
    claim: '/readyz says that the database answers, with the version of its schema, to everybody',
    async run(target) {
      const answer = await call(target, 'GET', '/readyz', { token: null })

      const { status, database } = json<{ status: string; database: { schemaVersion: number } }>(answer)
      assert.equal(status, 'ok')
      assert.ok(Number.isInteger(database.schemaVersion) && database.schemaVersion > 0, answer.text)
    },
  },
  {
    claim: '/openapi.json is OpenAPI 3.1 and lists every endpoint, and no other',
    async run(target) {
      const document = await openApi(target)

      assert.match(document.openapi, /^3\.1\.\d+$/)
      assert.ok(document.info.title && document.info.version)
      const listed = operations(document).map(([path, method]) => `${method} ${path}`)
      assert.deepEqual(listed.sort(), endpoints)
    },
  },
  {
    claim:
      '/openapi.json is whole: references lead somewhere, path parameters are declared, each operation has its answers',
    async run(target) {
      const document = await openApi(target)

      for (const reference of references(document)) {
        const steps = reference.replace(/^#\//, '').split('/')
        assert.ok(
          steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)?.[step], document),
          reference,
        )
      }
      for (const [path, method, { summary, parameters = [], responses, security = [] }] of operations(document)) {
        const where = `${method} ${path}`
        assert.ok(summary, where)
        const inPath = parameters.filter((parameter) => parameter.in === 'path')
        assert.ok(
          inPath.every(({ required }) => required),
          where,
        )
        assert.deepEqual(
          inPath.map(({ name }) => `{${name}}`),
          path.match(/\{\w+\}/g) ?? [],
          where,
        )
        assert.ok(
          parameters.every(({ schema }) => schema),
          where,
        )
        assert.ok(
          Object.keys(responses).some((status) => /^2\d\d$/.test(status)),
          where,
        )
        assert.ok(
          Object.values(responses).every(({ description }) => description),
          where,
        )
        assert.equal(security.length > 0, path.startsWith('/v1/'), where)
        for (const scheme of security.flatMap(Object.keys)) {
          assert.ok(scheme in document.components.securitySchemes, where)
        }
      }
    },
  },
  {
    claim: 'every endpoint of /openapi.json is there',
    async run(target) {
      for (const [path, method] of operations(await openApi(target))) {
        const there = path.replace(/\{(queue|exchange|endpoint)\}/, 'a').replace('{id}', '1')
        const answer = await call(target, method, there, { token: null })
        assert.equal(answer.status, path.startsWith('/v1/') ? 401 : 200, `${method} ${path}`)
      }
    },
  },
  {
    claim: 'every answer has a request id: the caller’s, or a new one',
    async run(target) {
      const queue = await newQueue(target)
      const given = randomUUID()
      const headers = { 'x-request-id': given }
      const seen: string[] = []
      for (const [method, path, body] of [
        ['GET', '/healthz', undefined],
        ['GET', '/openapi.json', undefined],
        ['GET', queue.path, undefined],
        ['POST', `${queue.path}/receive`, {}],
        ['GET', `${queue.path}/messages`, undefined],
        ['GET', '/nowhere', undefined],
      ] as const) {
        const options = body ? { body } : {}
        assert.equal(
          (await call(target, method, path, { ...options, headers })).headers.get('x-request-id'),
          given,
          path,
        )
        seen.push((await call(target, method, path, options)).headers.get('x-request-id') ?? '')
      }
      assert.ok(
        seen.every((id) => id.length >= 16),
        seen.join(),
      )
      assert.equal(new Set(seen).size, seen.length)
    },
  },
  {
    claim: 'a request id that could break a log is replaced',
    async run(target) {
      for (const odd of ['a b', '"}{', 'x'.repeat(1000), '<script>']) {
        const answer = await call(target, 'GET', '/nowhere', { headers: { 'x-request-id': odd } })
        assert.notEqual(assertProblem(answer, 'route_not_found').requestId, odd)
      }
    },
  },
  {
    claim:
      'a request leaves one line in the log: what, how long, with what result; no token, no body, no header, no query',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { 'x-request-id': randomUUID(), 'x-other': 'PRIVATE-header' }
      const body = { body: 'PRIVATE-body', type: 'PRIVATE-type', prio: 'PRIVATE-field' }

      assertProblem(await queue.post('messages?q=PRIVATE-query', { body, headers }), 'request_invalid')

      const { time, millis, ...line } = await lineOf(target, headers['x-request-id'])
      assert.deepEqual(line, {
        level: 'info',
        requestId: headers['x-request-id'],
        method: 'POST',
        path: `${queue.path}/messages`,
        status: 400,
        error: 'request_invalid',
      })
      assert.ok(millis >= 0 && Math.abs(Date.parse(time) - Date.now()) < 60_000)
      assert.equal(linesOf(target, headers['x-request-id']).length, 1)
      assert.ok(!target.log.some((text) => text.includes('PRIVATE') || text.includes(target.token)))
    },
  },
]
