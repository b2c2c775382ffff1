/* In transactions of Kysely: taken as it is. */
import { openKysely } from '../runtimes/outbox/kysely.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('Kysely', openKysely)
outboxClaims('Kysely with CamelCasePlugin', (url) => openKysely(url, { camelCase: true }))
