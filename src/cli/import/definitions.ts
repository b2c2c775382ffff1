/* What RabbitMQ prints as its definitions (3.8 to 4.x), of a cluster or of one virtual host: read and checked.
 *
 * Only what is looked at is checked. What else is in it (users with their hashes, parameters with passwords in their addresses) is never
 * shown. Items of an export of one virtual host do not say which. */
import { z } from 'zod'
import { rule, shown } from '../../http/fields.ts'
import { validate } from '../../http/validate.ts'
import { Ending, exitCodes } from '../exit.ts'

const text = z.string(rule('a string'))
const flag = (byDefault: boolean) => z.boolean(rule('true or false')).default(byDefault)

/** Values by name. Erlang writes an empty one as [], and some as a list of pairs. */
const table = z.preprocess(
  (given) => (Array.isArray(given) && given.every(isPair) ? Object.fromEntries(given) : (given ?? {})),
  z.record(z.string(), z.unknown(), rule('an object')),
)

function isPair(given: unknown): given is [string, unknown] {
  return Array.isArray(given) && given.length === 2 && typeof given[0] === 'string'
}

const item = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.looseObject({ vhost: text.optional(), ...shape }, rule('an object'))
const list = <Schema extends z.ZodType>(schema: Schema) => z.array(schema, rule('an array')).default([])

const Queue = item({
  name: text,
  durable: flag(true),
  auto_delete: flag(false),
  exclusive: flag(false),
  type: text.optional(),
  arguments: table,
})

const Exchange = item({
  name: text,
  type: text,
  durable: flag(true),
  auto_delete: flag(false),
  internal: flag(false),
  arguments: table,
})

const Binding = item({
  source: text,
  destination: text,
  destination_type: z.enum(['queue', 'exchange'], rule('queue or exchange')),
  routing_key: text.default(''),
  arguments: table,
})

const policyShape = {
  pattern: text,
  'apply-to': text.default('all'),
  definition: table,
  priority: z.number(rule('a number')).default(0),
}
const Policy = item({ name: text, ...policyShape })

const Parameter = item({ component: text, name: z.unknown().optional(), value: z.unknown().optional() })

/** The value of a parameter that is a policy of the operator. */
const OperatorPolicy = z.looseObject(policyShape, rule('an object'))

const Definitions = z.looseObject(
  {
    rabbitmq_version: text.optional(),
    rabbit_version: text.optional(),
    default_queue_type: z.unknown().optional(),
    vhosts: list(z.looseObject({ name: text, default_queue_type: z.unknown().optional() }, rule('an object'))),
    queues: list(Queue),
    exchanges: list(Exchange),
    bindings: list(Binding),
    policies: list(Policy),
    parameters: list(Parameter),
  },
  rule('an object'),
)

export type RabbitQueue = z.infer<typeof Queue>
export type RabbitExchange = z.infer<typeof Exchange>
export type RabbitBinding = z.infer<typeof Binding>
export type RabbitPolicy = z.infer<typeof Policy>
export type RabbitDefinitions = z.infer<typeof Definitions>

const lists = ['queues', 'exchanges', 'bindings', 'policies']

/** What a text says.
 * @throws Ending badInput. */
export function readDefinitions(source: string, json: string): RabbitDefinitions {
  return orBadInput(source, () => {
    const given: object = JSON.parse(json)
    const definitions = validate(Definitions, given, 'it')
    if (lists.some((name) => Object.hasOwn(given, name))) return definitions
    const names = shown(Object.keys(given))
    throw new Error(`it must be what RabbitMQ exports, with some of ${lists.join(', ')}, got ${names}`)
  })
}

/** The policy that a parameter of the component operator_policy is.
 * @throws Ending badInput. */
export function operatorPolicy(name: unknown, value: unknown): RabbitPolicy {
  return orBadInput(`operator policy ${name}`, () => ({
    name: String(name),
    ...validate(OperatorPolicy, value, 'it'),
  }))
}

function orBadInput<Read>(source: string, read: () => Read): Read {
  try {
    return read()
  } catch (error) {
    throw new Ending(exitCodes.badInput, `${source}: ${error instanceof Error ? error.message : error}`)
  }
}
