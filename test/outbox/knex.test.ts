/* In transactions of Knex. */
import { openKnex } from '../runtimes/outbox/knex.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('Knex', openKnex)
outboxClaims('Knex with postProcessResponse', (url) => openKnex(url, { camelCase: true }))
