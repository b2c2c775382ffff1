/* The conformance list: what the HTTP door promises, whatever runs it. */
import { accessCases } from './access.ts'
import { bodyCases } from './bodies.ts'
import { leaseCases } from './leases.ts'
import { lookCases } from './looks.ts'
import { outageCases } from './outages.ts'
import { queueCases } from './queues.ts'
import { refusalCases } from './refusals.ts'
import { sendCases } from './sends.ts'
import { serviceCases } from './service.ts'
import type { Case } from './target.ts'
import { waitCases } from './waits.ts'

export const cases: readonly Case[] = [
  ...queueCases,
  ...sendCases,
  ...bodyCases,
  ...leaseCases,
  ...lookCases,
  ...waitCases,
  ...refusalCases,
  ...accessCases,
  ...serviceCases,
  ...outageCases,
]
