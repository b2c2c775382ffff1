/* In transactions of MikroORM. */
import { openMikroOrm } from '../runtimes/outbox/mikro-orm.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('MikroORM', openMikroOrm)
