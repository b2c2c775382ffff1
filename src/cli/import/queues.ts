/* RabbitMQ's queues, as Postbag creates them. Pure.
 *
 * A queue gets what its arguments say, and besides whatever it takes to be as it was in RabbitMQ although Postbag's policies add up
 * (policies.ts): such settings are its own, then. */
import { shown } from '../../http/fields.ts'
import { queueNamePattern, queueNameRule } from '../../limits.ts'
import type { PolicySettings, QueueConfig } from '../../wire.ts'
import type { RabbitQueue } from './definitions.ts'
import { type Report, unreported } from './finding.ts'
import { lower, type Policies, settled, withOverflow } from './policies.ts'
import { type Known, type Raw, rawArguments, settingsOf } from './settings.ts'
import type { Version, VirtualHost } from './vhost.ts'

/** A queue that is imported. */
export interface KeptQueue {
  readonly name: string
  readonly type: 'classic' | 'quorum'
  readonly isDurable: boolean
  readonly raw: Raw
}

export type PlannedQueue = QueueConfig & { readonly name: string }

export function keptQueues(vhost: VirtualHost, report: Report): readonly KeptQueue[] {
  return vhost.queues.flatMap((queue) => {
    const { name, durable: isDurable } = queue
    const type = typeOf(queue, vhost.defaultQueueType)
    const why = refusal(queue, type)
    if (why !== undefined) report('unmapped', `queue ${name}`, why)
    return why === undefined
      ? [{ name, type: type as KeptQueue['type'], isDurable, raw: rawArguments(queue.arguments) }]
      : []
  })
}

function typeOf(queue: RabbitQueue, byDefault: string): string {
  const said = queue.arguments['x-queue-type'] ?? queue.type ?? byDefault
  return /^(?:rabbit_)?(classic|quorum|stream)(?:_queue)?$/.exec(String(said))?.[1] ?? shown(said)
}

function refusal({ name, exclusive, auto_delete }: RabbitQueue, type: string): string | undefined {
  if (!queueNamePattern.test(name)) return `its name must be ${queueNameRule}`
  if (type === 'stream') return 'is a stream, and there are no queues that keep what was read'
  if (type !== 'classic' && type !== 'quorum') return `is of the type ${type}, which is not known to this import`
  if (exclusive) return 'is exclusive, and queues are not of one connection'
  if (auto_delete) return 'goes away with its last consumer, and queues stay until they are deleted'
  return undefined
}

/** What RabbitMQ itself does not look at, in a queue of that type. (Quorum queues have as many priorities as they say since 4.3:
 * https://www.rabbitmq.com/docs/4.3/priority) */
function inertIn(type: KeptQueue['type'], { major, minor }: Version): readonly string[] {
  if (type === 'classic') return ['delivery-limit']
  return major > 4 || (major === 4 && minor >= 3) ? [] : ['max-priority']
}

export function planQueue(
  { name, type, raw: given }: KeptQueue,
  version: Version,
  policies: Policies,
  known: Known,
  report: Report,
): PlannedQueue {
  const subject = `queue ${name}`
  const inert = inertIn(type, version)
  const where = type === 'quorum' ? 'quorum queues before RabbitMQ 4.3' : 'classic queues'
  for (const word of inert) {
    if (given[word] !== undefined) report('ignored', `${subject}, ${word}`, `has no effect in ${where}`)
  }
  const note = (why: string) => report('note', subject, why)
  const byPolicy = without(policies.rawOf(name, type), inert)
  const raw = withDefaultLimit(without(given, inert), byPolicy, type, version)
  if (raw['delivery-limit'] !== undefined && given['delivery-limit'] === undefined) {
    note(`gets maxAttempts ${defaultDeliveryLimit + 1}, as RabbitMQ ${version.major} has it for quorum queues`)
  }

  const own = settingsOf(raw, subject, known, report)
  // Of a quorum queue a policy's overflow holds, whatever the queue says: https://www.rabbitmq.com/docs/quorum-queues
  const { overflow } = byPolicy
  const policyFirst = type === 'quorum' && overflow !== undefined ? { overflow } : {}
  const was = withOverflow(settingsOf({ ...lower(byPolicy, raw), ...policyFirst }, subject, known, unreported))
  const added = difference(was, settled(policies.planned, name, own))
  const unlike = Object.keys(added).filter((field) => field !== 'overflow')
  if (unlike.length > 0) {
    note(`gets ${unlike.map((field) => said(field, added)).join(', ')} of its own: policies add up in Postbag`)
  }
  if (was.deadLetterQueue === name) {
    const kind = given['dead-letter-exchange'] === undefined ? 'note' : 'unmapped'
    report(
      kind,
      `${subject}, dead-letter-exchange`,
      'leads back to the queue itself: here such dead letters stay as "dead"',
    )
  }
  if (was.ttlSeconds !== undefined && (was.deadLetterQueue ?? was.deadLetterExchange)) {
    note('moves what expires when it is used or at the next maintain, not at once: see docs/rabbitmq.md')
  }
  return { name, ...own, ...added }
}

function without(raw: Raw, words: readonly string[]): Raw {
  return Object.fromEntries(Object.entries(raw).filter(([word]) => !words.includes(word)))
}

/** Of quorum queues, since RabbitMQ 4. */
const defaultDeliveryLimit = 20

function withDefaultLimit(raw: Raw, byPolicy: Raw, type: string, { major }: Version): Raw {
  const isSaid = raw['delivery-limit'] !== undefined || byPolicy['delivery-limit'] !== undefined
  return isSaid || type !== 'quorum' || major < 4 ? raw : { ...raw, 'delivery-limit': defaultDeliveryLimit }
}

/** What a queue must say itself to have what it was, where it would else have what it will be; null: none. Where dead letters go is said
 * as a whole. */
function difference(was: PolicySettings, willBe: PolicySettings): PolicySettings {
  const fields = [...new Set([...Object.keys(was), ...Object.keys(willBe)])] as (keyof PolicySettings)[]
  const unlike = fields.filter((field) => (was[field] ?? null) !== (willBe[field] ?? null))
  const ways = fields.filter((field) => field.startsWith('deadLetter'))
  const said = unlike.some((field) => ways.includes(field)) ? [...unlike, ...ways] : unlike
  return Object.fromEntries(
    said
      .filter((field) => field !== 'overflow' || was.overflow !== undefined)
      .map((field) => [field, was[field] ?? null]),
  )
}

function said(field: string, settings: PolicySettings): string {
  return `${field} ${settings[field as keyof PolicySettings] ?? 'none'}`
}
