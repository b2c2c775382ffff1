/* Endpoints of webhooks: set, looked at, delivered to. */
import type { RedriveRequest } from './queues.ts'

/** What an event must contain to be delivered: all of it, as Postgres says of jsonb (@>). */
export interface EndpointFilter {
  readonly headers?: Readonly<Record<string, string>>
  /** Any JSON value: an object is contained in one that has all its fields, and more. */
  readonly body?: unknown
}

/** PUT makes an endpoint of webhooks, or replaces its whole configuration: what is not given gets its default. */
export interface EndpointConfig {
  /** Where to. https, a public host, at most 2048 characters. */
  readonly url: string
  /** What is published there is delivered. Of type topic, direct or fanout. */
  readonly exchange: string
  /** Patterns of routing keys, as for bindings, 1 – 100. Defaults to ["#"]: everything that is published to a topic exchange. */
  readonly eventTypes?: readonly string[]
  /** Whose it is: 1 – 128 characters. Endpoints are listed by it. */
  readonly application?: string
  readonly filter?: EndpointFilter
  /** Of the requests, at most 32. */
  readonly headers?: Readonly<Record<string, string>>
  /** Up to 1000 characters. */
  readonly description?: string
  /** Strings by name, at most 4 KiB. */
  readonly metadata?: Readonly<Record<string, string>>
  /** How long the receiver has to answer, in seconds, 1 – 60. Defaults to 15. */
  readonly timeoutSeconds?: number
  /** How long to wait after each failed attempt, in seconds, up to 50 times 0 – 604800; then the delivery is a dead letter.
   * Defaults to 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. */
  readonly retriesSeconds?: readonly number[]
  /** Most deliveries in a second, 0.001 – 1000000. Defaults to no limit. */
  readonly ratePerSecond?: number
  /** How many of them at once after a pause. Defaults to those of one second. */
  readonly rateBurst?: number
  /** Most deliveries under way, 1 – 100000. Defaults to 10. */
  readonly concurrency?: number
  /** group: events of a group are delivered one after the other, each after the one before it arrived (or failed for good). endpoint: all are.
   * Defaults to none. */
  readonly order?: EndpointOrder
  /** "whsec_…" or "whsk_…", for signing. Defaults to the one it has; a new endpoint gets one. Given to an endpoint that is there, it replaces
   * all it had, at once. */
  readonly secret?: string
}

export type EndpointOrder = 'none' | 'group' | 'endpoint'

export type EndpointState = 'enabled' | 'resting' | 'paused' | 'disabled'

export interface EndpointInfo
  extends Omit<
    Required<EndpointConfig>,
    'application' | 'filter' | 'description' | 'ratePerSecond' | 'rateBurst' | 'secret'
  > {
  readonly name: string
  readonly application?: string
  readonly filter?: EndpointFilter
  readonly description?: string
  readonly ratePerSecond?: number
  readonly rateBurst?: number
  /** resting: nothing is delivered until restingUntil, because it has failed often or has asked for it. paused: what is published waits.
   * disabled: what is published does not even wait. */
  readonly state: EndpointState
  /** open: it rests. half-open: it has rested, and one delivery is tried before the others. */
  readonly breaker: 'closed' | 'open' | 'half-open'
  readonly disabledAt?: string
  /** Its receiver said that it is gone (410), or it has failed for days. */
  readonly disabledBecause?: 'asked' | 'gone' | 'failing'
  /** Failed attempts since the last that succeeded. */
  readonly failures: number
  readonly failingSince?: string
  readonly restingUntil?: string
  readonly createdAt: string
  readonly updatedAt: string
  /** What its receiver verifies signatures with: only in the answer to the call that made it. */
  readonly secret?: string
}

export interface EndpointListResponse {
  readonly endpoints: readonly EndpointInfo[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

export interface RotateSecretRequest {
  /** For how long the secrets before it go on signing, in seconds, 0 – 604800. Defaults to a day. */
  readonly overlapSeconds?: number
  /** Defaults to a new one. */
  readonly secret?: string
}

export interface AttemptListRequest {
  readonly outcome?: 'delivered' | 'failed'
  /** Of one delivery. */
  readonly id?: string
  /** The `next` of the page before. */
  readonly before?: string
  /** 1 – 1000. Defaults to 100. */
  readonly max?: number
}

/** One request to an endpoint, and what came of it. */
export interface DeliveryAttempt {
  readonly attempt: string
  /** Of the delivery. */
  readonly id: string
  /** Of the event, as long as it is kept. */
  readonly eventId?: string
  readonly type?: string
  /** 1 for the first of the delivery. */
  readonly number: number
  readonly startedAt: string
  readonly millis: number
  readonly outcome: 'delivered' | 'failed'
  /** What the receiver answered, if it did. */
  readonly status?: number
  /** Why it failed: docs/webhooks.md lists them. */
  readonly error?: string
  readonly detail?: string
  readonly responseHeaders?: Readonly<Record<string, string>>
  /** Its first 4 KiB. */
  readonly responseBody?: string
}

export interface AttemptListResponse {
  /** The newest first. */
  readonly attempts: readonly DeliveryAttempt[]
  /** Pass as `before` for the next page; missing on the last one. */
  readonly next?: string
}

export interface ResendRequest {
  readonly eventId: string
}

export interface ResendResponse {
  /** Of the new delivery. */
  readonly id: string
}

export interface TestEventResponse extends ResendResponse {
  readonly eventId: string
}

/** Which dead letters to deliver anew: as for a redrive, which it is. */
export type RecoverRequest = Omit<RedriveRequest, 'target'>

export interface EndpointStatistics {
  readonly state: EndpointState
  /** Deliveries that wait, also for their next attempt. */
  readonly waiting: number
  /** Those under way. */
  readonly leased: number
  readonly dead: number
  /** Since when the oldest of those that wait could have been tried. */
  readonly oldestReadyAt?: string
  readonly countedAt: string
  /** As of QueueStats. */
  readonly capped: boolean
  /** How many of the last attempts the following is about, up to 1000. */
  readonly attempts: number
  /** How many of them arrived, 0 – 1. */
  readonly successRate?: number
  /** How long half of them, and 95 of 100, took at most. */
  readonly p50Millis?: number
  readonly p95Millis?: number
}

export interface DeliverRequest {
  /** For how long deliveries are begun, in seconds, 0 – 60. Defaults to 20. 0: only have it begun, where the platform goes on after the
   * answer. */
  readonly maxSeconds?: number
  /** Whether to wait for what becomes due in that time. Defaults to false: end when nothing is due. */
  readonly wait?: boolean
}

export interface DeliverResponse {
  readonly attempts: number
  /** When something is due: 0, there is more now. Absent: nothing waits. */
  readonly dueInSeconds?: number
}
