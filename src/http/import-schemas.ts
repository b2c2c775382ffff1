/* The shapes of an import: those of exchanges, queues, policies and bindings, with their names. */
import { z } from '@hono/zod-openapi'
import { maxImported } from '../limits.ts'
import { BindRequest, ExchangeConfig, oneTarget } from './exchange-schemas.ts'
import { fields, flag, otherQueue, required, rule, shown } from './fields.ts'
import { PolicyConfig } from './policy-schemas.ts'
import { configShape, settingsGoTogether } from './queue-schemas.ts'

const name = (description: string) => required(otherQueue(description))

const list = <Schema extends z.ZodType>(schema: Schema, description: string) =>
  z.array(schema, rule('an array')).optional().describe(description)

const definitions = {
  exchanges: list(
    fields({ name: name('Of the exchange.'), ...ExchangeConfig.shape }),
    'What is published to. Alternates may come in any order.',
  ),
  queues: list(
    fields({ name: name('Of the queue.'), ...configShape }).superRefine(settingsGoTogether),
    "Queues, each with its settings. They may be each other's dead-letter queues, in any order.",
  ),
  policies: list(fields({ name: name('Of the policy.'), ...PolicyConfig.shape }), 'Settings of queues by their names.'),
  bindings: list(
    fields({ source: name('The exchange that it is a binding of.'), ...BindRequest.shape }).superRefine(oneTarget),
    'Where exchanges lead.',
  ),
}

export const ImportRequest = fields({
  ...definitions,
  dryRun: flag('true: only see whether it would be refused. Default false.'),
})
  .superRefine(({ dryRun: _, ...lists }, context) => {
    const total = Object.values(lists).reduce((sum, list) => sum + (list?.length ?? 0), 0)
    if (total > maxImported)
      return context.addIssue({ code: 'too_big', origin: 'array', maximum: maxImported, message: tooMany(total) })
    // (SQL would say of the second one that it is there otherwise, which nobody finds then.)
    const { bindings: _bindings, ...named } = lists
    for (const [kind, list = []] of Object.entries(named)) {
      const seen = new Set<string>()
      const second = list.findIndex(({ name }) => seen.size === seen.add(name).size)
      if (second < 0) continue
      const message = `must be another than those before it, got ${shown(list[second]?.name)}`
      context.addIssue({ code: 'custom', path: [kind, second, 'name'], message })
    }
  })
  .openapi('ImportRequest', {
    description: `At most ${maxImported} exchanges, queues, policies and bindings in all.`,
  })

const tooMany = (total: number) =>
  `must have at most ${maxImported} exchanges, queues, policies and bindings, got ${total}`

const imported = z
  .object({ created: z.int(), present: z.int().describe('How many were there before, just so.') })
  .openapi('Imported')

export const ImportResponse = z
  .object({ exchanges: imported, queues: imported, policies: imported, bindings: imported })
  .openapi('ImportResponse')
