/* The shapes of policies. Their settings are those of queues, but for durability. */
import { z } from '@hono/zod-openapi'
import { maxPolicies, queuesPattern, queuesRule } from '../limits.ts'
import { fields, rule } from './fields.ts'
import { configShape, settingsGoTogether } from './queue-schemas.ts'

const { durability: _, ...settingsShape } = configShape

const PolicySettings = fields(settingsShape).superRefine(settingsGoTogether).openapi('PolicySettings')

export const PolicyConfig = fields({
  pattern: z
    .string(rule('a string'))
    .regex(queuesPattern, rule(queuesRule))
    .describe('Which queues: their name, where * stands for any characters, also none.'),
  settings: PolicySettings,
}).openapi('PolicyConfig')

export const PolicyInfo = z
  .object({
    name: z.string(),
    pattern: z.string(),
    settings: PolicySettings,
    matchingQueues: z.int(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .openapi('PolicyInfo')

export const PolicyListResponse = z
  .object({ policies: z.array(PolicyInfo).max(maxPolicies) })
  .openapi('PolicyListResponse')

export const PolicyDeleted = z.object({ matchingQueues: z.int() }).openapi('PolicyDeleted')
