/* In transactions of pg: it is an executor as it is. */
import { openPg } from '../runtimes/outbox/pg.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('pg', openPg)
