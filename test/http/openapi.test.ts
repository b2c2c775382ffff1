/* /openapi.json says what the server holds: what must be given, every limit, and a name for each operation. (That it is well formed and lists
 * every endpoint are conformance cases: service.ts.) */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../src/app.ts'
import { Client } from '../../src/client/client.ts'
import { createEndpointClient, Endpoint } from '../../src/client/endpoints.ts'
import { Exchange } from '../../src/client/exchange.ts'
import { Policy } from '../../src/client/policy.ts'
import { Queue } from '../../src/client/queue.ts'
import * as limits from '../../src/limits.ts'

/** A schema of JSON Schema, as far as it is looked at here. */
interface Schema {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly [keyword: string]: unknown
}

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly { readonly name: string; readonly schema: Schema }[]
  readonly requestBody?: Schema & { readonly required?: boolean }
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

const { paths, components } = createApp({ access: { kind: 'open' } }).getOpenAPI31Document({
  openapi: '3.1.0',
  info: { title: 'Postbag', version: '1' },
}) as unknown as Document
const operations = Object.values(paths).flatMap((path) => Object.values(path))

test('a body is required where the server refuses a message without', () => {
  for (const name of ['OutgoingMessage', 'PublishedMessage', 'PublishOne', 'RequestRequest', 'ReplyRequest']) {
    assert.ok(components.schemas[name]?.required?.includes('body'), name)
  }
  assert.ok(components.schemas['PeekedMessage']?.required?.includes('body'))
})

test('a request body is required where {} is refused', () => {
  const required = operations
    .filter(({ requestBody }) => requestBody?.required)
    .map((operation) => operation.operationId)

  assert.deepEqual(required.sort(), [
    'ack',
    'bind',
    'extend',
    'nack',
    'publish',
    'reply',
    'request',
    'resend',
    'send',
    'setEndpoint',
    'setPolicy',
    'unbind',
  ])
})

test('each operation has a name of its own: that of the client’s method, with the thing it is of where that says too little', () => {
  const notInTheClient = ['deliver', 'health', 'importDefinitions', 'queueBindings', 'readiness', 'stream']
  const known = new Set(notInTheClient)
  for (const [noun, prototype] of [
    ['Queue', Queue.prototype],
    ['Message', Queue.prototype],
    ['Exchange', Exchange.prototype],
    ['Policy', Policy.prototype],
    ['Endpoint', Endpoint.prototype],
    ['', Client.prototype],
    ['', createEndpointClient({ url: 'http://127.0.0.1' })],
  ] as const) {
    for (const method of Object.getOwnPropertyNames(prototype)) {
      const capital = method.replace(/^./, (first) => first.toUpperCase())
      for (const name of [method, method + noun, noun.toLowerCase() + capital]) known.add(name)
    }
  }

  const names = operations.map(({ operationId }) => operationId)

  assert.equal(new Set(names).size, names.length, names.join())
  assert.deepEqual(
    names.filter((name) => !known.has(name)),
    [],
  )
})

/** Where each limit stands: a property of a schema ("[]": of its elements), or a parameter of an operation, and the keyword. */
const stated: Readonly<Record<string, readonly string[]>> = {
  maxBatch: ['SendRequest.messages maxItems', 'AckRequest.receipts maxItems', 'ReceiveRequest.max maximum'],
  maxBodyBytes: ['OutgoingMessage.body description', 'PublishOne.body description', 'ReplyRequest.body description'],
  maxRequestBytes: ['send description', 'publish description'],
  maxAnswerLength: ['ReceiveResponse.messages description', 'PeekResponse.messages description'],
  maxAutoAcked: ['ReceiveRequest.autoAck description'],
  maxHeadersBytes: [
    'OutgoingMessage.headers description',
    'RouteRequest.headers description',
    'RedriveRequest.headers description',
  ],
  maxTypeLength: ['OutgoingMessage.type maxLength', 'OutgoingMessage.contentType maxLength', 'send?type maxLength'],
  maxDedupIdLength: ['OutgoingMessage.dedupId maxLength'],
  maxRoutingKeyLength: ['PublishOne.routingKey maxLength', 'BindRequest.routingKey maxLength'],
  maxBindingHeaders: ['BindRequest.headers maxProperties'],
  maxWeight: ['BindRequest.weight maximum'],
  maxGroupLength: ['OutgoingMessage.group maxLength'],
  maxCorrelationIdLength: ['OutgoingMessage.correlationId maxLength'],
  maxReplyToLength: ['OutgoingMessage.replyTo maxLength', 'ReplyRequest.replyTo maxLength'],
  minKeepSeconds: ['RequestRequest.keepSeconds minimum'],
  maxKeepSeconds: ['RequestRequest.keepSeconds maximum'],
  maxLeaseSeconds: ['QueueConfig.leaseSeconds maximum', 'ReceiveRequest.leaseSeconds maximum'],
  maxDelaySeconds: ['OutgoingMessage.delaySeconds maximum', 'NackRequest.delaySeconds maximum'],
  minTtlSeconds: ['OutgoingMessage.ttlSeconds minimum'],
  maxTtlSeconds: ['OutgoingMessage.ttlSeconds maximum'],
  minRetentionSeconds: ['QueueConfig.deadLetterRetentionSeconds minimum'],
  maxRetentionSeconds: ['QueueConfig.deadLetterRetentionSeconds maximum'],
  maxDedupWindowSeconds: ['QueueConfig.dedupWindowSeconds maximum'],
  maxWaitSeconds: ['ReceiveRequest.waitSeconds maximum', 'fetchReply?waitSeconds maximum'],
  maxStreamSeconds: ['stream?seconds maximum'],
  maxHeartbeatSeconds: ['stream?heartbeatSeconds maximum'],
  maxPriority: ['QueueConfig.maxPriority maximum', 'OutgoingMessage.priority maximum'],
  maxAttempts: ['QueueConfig.maxAttempts maximum'],
  maxQueueMessages: ['QueueConfig.maxMessages maximum'],
  maxQueueBytes: ['QueueConfig.maxBytes maximum'],
  maxInFlight: ['QueueConfig.maxInFlight maximum', 'EndpointConfig.concurrency maximum'],
  minRatePerSecond: ['QueueConfig.ratePerSecond minimum', 'EndpointConfig.ratePerSecond minimum'],
  maxRatePerSecond: ['QueueConfig.ratePerSecond maximum', 'EndpointConfig.ratePerSecond maximum'],
  maxRateBurst: ['QueueConfig.rateBurst maximum', 'EndpointConfig.rateBurst maximum'],
  maxMaintained: ['MaintainRequest.max maximum'],
  maxSearchLength: ['peek?contains maxLength', 'RedriveRequest.errorContains maxLength'],
  maxAgeSeconds: ['peek?maxAgeSeconds maximum', 'RedriveRequest.minAgeSeconds maximum'],
  maxErrorLength: ['NackRequest.error description'],
  maxEventTypes: ['EndpointConfig.eventTypes maxItems'],
  maxRetries: ['EndpointConfig.retriesSeconds maxItems'],
  maxRetrySeconds: ['EndpointConfig.retriesSeconds[] maximum'],
  minEndpointTimeoutSeconds: ['EndpointConfig.timeoutSeconds minimum'],
  maxEndpointTimeoutSeconds: ['EndpointConfig.timeoutSeconds maximum'],
  maxDeliverSeconds: ['DeliverRequest.maxSeconds maximum'],
  maxDescriptionLength: ['EndpointConfig.description maxLength'],
  maxMetadataBytes: ['EndpointConfig.metadata description'],
  maxFilterBytes: ['EndpointConfig.filter description'],
  maxApplicationLength: ['EndpointConfig.application maxLength', 'endpoints?application maxLength'],
  maxSecretLength: ['EndpointConfig.secret maxLength', 'RotateSecretRequest.secret maxLength'],
  maxOverlapSeconds: ['RotateSecretRequest.overlapSeconds maximum'],
  maxImported: ['ImportRequest description'],
  maxPolicies: ['PolicyListResponse.policies maxItems'],
  maxWebhookSecrets: ['RotateSecretRequest.overlapSeconds description'],
  maxUrlLength: ['EndpointConfig.url maxLength'],
  maxEndpointHeaders: ['EndpointConfig.headers maxProperties'],
  maxEndpointHeadersBytes: ['EndpointConfig.headers description'],
  keptHeaders: ['AttemptListResponse.attempts[].responseHeaders description'],
  keptHeaderBytes: ['AttemptListResponse.attempts[].responseHeaders description'],
  keptBodyBytes: ['AttemptListResponse.attempts[].responseBody description'],
}

/** Limits of what is no request: of tokens, of receivers of webhooks, and of what a deliverer does. */
const elsewhere = [
  'maxPortalSeconds',
  'maxWebhookIdLength',
  'maxWebhookSignatures',
  'maxWebhookBodyBytes',
  'maxAnswerHeadBytes',
  'maxInterimAnswers',
  'maxReadBytes',
  'maxTriedAddresses',
  'maxRetryAfterSeconds',
  'maxKeptSecrets',
  'maxBytesUnderWay',
  'maxTrustedEndpoints',
]

for (const [limit, value] of Object.entries(limits)) {
  if (typeof value !== 'number' || elsewhere.includes(limit)) continue
  test(`the document says ${limit}`, () => {
    const places = stated[limit] ?? []
    assert.notEqual(places.length, 0, `where does it say ${limit}?`)
    for (const place of places) {
      const [path = '', keyword = ''] = place.split(' ')
      const said = schemaAt(path)?.[keyword]
      if (keyword === 'description') assert.match(String(said), new RegExp(`\\b${value}\\b`), place)
      else assert.equal(said, value, place)
    }
  })
}

function schemaAt(path: string): Schema | undefined {
  const [operationId, parameter] = path.split('?')
  const operation = operations.find((one) => one.operationId === operationId)
  if (operation && parameter === undefined) return operation.requestBody
  if (operation) return operation.parameters?.find(({ name }) => name === parameter)?.schema
  const [name = '', ...steps] = path.replaceAll('[]', '.[]').split('.')
  return steps.reduce(
    (schema, step) => resolved(step === '[]' ? schema?.items : schema?.properties?.[step]),
    components.schemas[name],
  )
}

function resolved(schema: Schema | undefined): Schema | undefined {
  const reference = schema?.['$ref']
  return typeof reference === 'string' ? components.schemas[reference.split('/').at(-1) ?? ''] : schema
}
