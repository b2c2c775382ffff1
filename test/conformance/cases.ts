/* The conformance list: what the HTTP door promises, whatever runs it. */
import { accessCases } from './access.ts'
import { bodyCases } from './bodies.ts'
import { boundCases } from './bounds.ts'
import { cloudEventCases } from './cloudevents.ts'
import { deadLetterCases } from './dead-letters.ts'
import { dedupCases } from './dedups.ts'
import { deliveryCases } from './deliveries.ts'
import { durabilityCases } from './durabilities.ts'
import { endpointCases } from './endpoints.ts'
import { exchangeCases } from './exchanges.ts'
import { groupCases } from './groups.ts'
import { importCases } from './imports.ts'
import { leaseCases } from './leases.ts'
import { lifetimeCases } from './lifetimes.ts'
import { limitCases } from './limits.ts'
import { lookCases } from './looks.ts'
import { orderCases } from './orders.ts'
import { outageCases } from './outages.ts'
import { policyCases } from './policies.ts'
import { publishCases } from './publishes.ts'
import { queueCases } from './queues.ts'
import { redriveCases } from './redrives.ts'
import { refusalCases } from './refusals.ts'
import { requestCases } from './requests.ts'
import { retryCases } from './retries.ts'
import { searchCases } from './searches.ts'
import { sendCases } from './sends.ts'
import { serviceCases } from './service.ts'
import { streamCases } from './streams.ts'
import type { Case } from './target.ts'
import { waitCases } from './waits.ts'
import { webhookCases } from './webhooks.ts'

/** Those in which somebody waits, or is told of something: where entries differ only in how they learn of messages, these differ. */
export const wakingCases: readonly Case[] = [
  ...limitCases,
  ...lookCases,
  ...deliveryCases,
  ...webhookCases,
  ...waitCases,
  ...streamCases,
  ...requestCases,
  ...serviceCases,
  ...outageCases,
]

/** Those in which it matters how a request gets here and its answer back: where entries differ only in what carries them, these differ. */
export const carriedCases: readonly Case[] = [
  ...sendCases,
  ...bodyCases,
  ...cloudEventCases,
  ...publishCases,
  ...refusalCases,
  ...accessCases,
  ...wakingCases,
]

export const cases: readonly Case[] = [
  ...queueCases,
  ...policyCases,
  ...importCases,
  ...sendCases,
  ...dedupCases,
  ...bodyCases,
  ...cloudEventCases,
  ...leaseCases,
  ...retryCases,
  ...lifetimeCases,
  ...orderCases,
  ...groupCases,
  ...deadLetterCases,
  ...redriveCases,
  ...durabilityCases,
  ...searchCases,
  ...exchangeCases,
  ...publishCases,
  ...endpointCases,
  ...refusalCases,
  ...boundCases,
  ...accessCases,
  ...wakingCases,
]
