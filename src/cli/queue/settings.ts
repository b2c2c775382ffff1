/* The settings of a queue as the command line knows them: how each is given, and how it is shown. One table, of which "queue create" makes
 * its options, and "queue show" and "queue list" their lines; the policies' commands are made of the same. */
import { Option } from 'commander'
import type { Origin, QueueConfig, QueueInfo } from '../../wire.ts'
import { spoken, thousands } from '../output.ts'
import { bytes, duration, fraction, oneOf, rate, wholeNumber } from '../values.ts'

/** How a value of some kind is written on the command line, read, and said. */
interface Kind<Value> {
  readonly placeholder: string
  readonly read: (text: string) => Value
  readonly say: (value: Value) => string
}

interface Setting {
  readonly field: keyof QueueConfig
  /** A new one, as a command has its own. */
  readonly option: () => Option
  /** Such as "dead letter queue". */
  readonly label: string
  /** What it is by default, as say() puts it. */
  readonly byDefault: string
  readonly say: (config: QueueConfig) => string
}

const time: Kind<number> = { placeholder: 'time', read: duration, say: spoken }
const count: Kind<number> = { placeholder: 'number', read: wholeNumber, say: thousands }
const size: Kind<number> = { placeholder: 'size', read: bytes, say: (value) => `${thousands(value)} bytes` }
const share: Kind<number> = { placeholder: 'share', read: fraction, say: String }
const pace: Kind<number> = { placeholder: 'rate', read: rate, say: (value) => `${value}/s` }
const name: Kind<string> = { placeholder: 'queue', read: String, say: String }
const exchange: Kind<string> = { placeholder: 'exchange', read: String, say: String }
const key: Kind<string> = { placeholder: 'key', read: String, say: String }

function choice<Value extends string>(...values: readonly Value[]): Kind<Value> {
  return { placeholder: values.join('|'), read: oneOf(values), say: String }
}

/** Settings of one topic. */
function topic(heading: string, settings: readonly Setting[]): readonly Setting[] {
  return settings.map((setting) => ({ ...setting, option: () => setting.option().helpGroup(`${heading}:`) }))
}

function setting<Field extends keyof QueueConfig>(
  field: Field,
  flag: string,
  kind: Kind<NonNullable<QueueConfig[Field]>>,
  byDefault: string,
  help: string,
): Setting {
  const option = () =>
    new Option(`--${flag} <${kind.placeholder}>`, `${help} (default: ${byDefault})`).argParser(kind.read)
  return {
    field,
    option,
    label: flag.replaceAll('-', ' '),
    byDefault,
    say: (config) => {
      const value = config[field]
      return value === undefined || value === null ? byDefault : kind.say(value as NonNullable<QueueConfig[Field]>)
    },
  }
}

const burst = 'those of one second'

export const settings: readonly Setting[] = [
  ...topic('Which message is next', [
    setting('order', 'order', choice('fifo', 'lifo'), 'fifo', 'the one that became available first, or last'),
    setting('maxPriority', 'max-priority', count, '0', 'highest priority a message may have, up to 9'),
    setting(
      'groups',
      'groups',
      choice('ordered', 'fair'),
      'ordered',
      'a group is in strict order, or gets a fair share',
    ),
  ]),
  ...topic('When and for how long', [
    setting('leaseSeconds', 'lease', time, '30 s', 'how long a receiver owns a message'),
    setting('delaySeconds', 'delay', time, '0 s', 'until a message may be received'),
    setting('ttlSeconds', 'ttl', time, 'for ever', 'how long a message is worth anything'),
  ]),
  ...topic('What fails', [
    setting('maxAttempts', 'max-attempts', count, 'no limit', 'how often a message is handed out at most'),
    setting('retryDelaySeconds', 'retry-delay', time, '0 s', 'until a message that failed is received again'),
    setting('retryBackoff', 'retry-backoff', choice('fixed', 'exponential'), 'fixed', 'exponential doubles that delay'),
    setting('retryMaxDelaySeconds', 'retry-max-delay', time, '1 h', 'longest delay that doubling leads to'),
    setting('retryJitter', 'retry-jitter', share, '0', 'share of the delay that is left to chance, 0 to 1'),
    setting(
      'deadLetterQueue',
      'dead-letter-queue',
      name,
      'none',
      'where dead letters go; its own name: they stay here',
    ),
    setting(
      'deadLetterExchange',
      'dead-letter-exchange',
      exchange,
      'none',
      'or: an exchange that they are published to',
    ),
    setting('deadLetterRoutingKey', 'dead-letter-routing-key', key, 'their own', 'and by which routing key'),
    setting('deadLetterRetentionSeconds', 'dead-letter-retention', time, '14 d', 'how long those that stay are kept'),
  ]),
  ...topic('What is sent twice', [
    setting('dedupWindowSeconds', 'dedup-window', time, '5 min', 'how long dedup ids are remembered'),
    setting('dedupBy', 'dedup-by', choice('id', 'content'), 'id', 'content: the hash of a body is its dedup id'),
    setting('dedupScope', 'dedup-scope', choice('queue', 'group'), 'queue', 'where a dedup id counts'),
  ]),
  ...topic('How much, and how fast', [
    setting('maxMessages', 'max-messages', count, 'no limit', 'most messages in the queue'),
    setting('maxBytes', 'max-bytes', size, 'no limit', 'most bytes of all their bodies: 500, 64KiB, 10MiB, 2GiB'),
    setting('overflow', 'overflow', choice('reject', 'drop-oldest'), 'reject', 'what a send into a full queue does'),
    setting('maxInFlight', 'max-in-flight', count, 'no limit', 'most messages that are leased at the same time'),
    setting('ratePerSecond', 'rate', pace, 'no limit', 'how many are handed out: 10, 10/s, 600/m'),
    setting('rateBurst', 'rate-burst', count, burst, 'how many of them at once'),
    setting('groupRatePerSecond', 'group-rate', pace, 'no limit', 'how many of each group'),
    setting('groupRateBurst', 'group-rate-burst', count, burst, 'how many of them at once'),
  ]),
  ...topic('What a crash of the database may lose', [
    setting(
      'durability',
      'durability',
      choice('full', 'relaxed', 'volatile'),
      'full',
      'relaxed: a fraction of a second; volatile: everything',
    ),
  ]),
]

/** What was given of the settings on a command line. */
export function givenSettings(options: Readonly<Record<string, unknown>>): QueueConfig {
  return Object.fromEntries(settings.map(({ field, option }) => [field, options[option().attributeName()]]))
}

/** What a setting of a queue is, and who says so, if it is not the built-in default: "1 h (policy orders)". */
export function saidWithOrigin({ field, say }: Setting, info: QueueInfo): string {
  const origin: Origin | undefined = info.origins[field]
  return say(info) + (origin === undefined ? '' : ` (${origin === 'queue' ? 'the queue itself' : origin})`)
}

/** What a policy says, in one line. */
export function saidBy(config: QueueConfig): string {
  const said = settings.filter(({ field }) => config[field] !== undefined)
  return said.map(({ label, say }) => `${label} ${say(config)}`).join(', ') || 'nothing'
}

/** The settings that are not the default ones, in one line. */
export function described(info: QueueInfo): string {
  const set = settings.filter(({ say, byDefault }) => say(info) !== byDefault)
  return set.map(({ label, say }) => `${label} ${say(info)}`).join(', ') || 'the default settings'
}
