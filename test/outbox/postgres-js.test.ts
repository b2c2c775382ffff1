/* In transactions of postgres.js. */
import { camelCase, openPostgresJs } from '../runtimes/outbox/postgres-js.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('postgres.js', openPostgresJs)
outboxClaims('postgres.js with postgres.camel', (url) => openPostgresJs(url, camelCase))
outboxClaims('postgres.js without prepared statements', (url) => openPostgresJs(url, { prepare: false }))
