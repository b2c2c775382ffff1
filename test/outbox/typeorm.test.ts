/* In transactions of TypeORM. */
import { openTypeOrm } from '../runtimes/outbox/typeorm.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('TypeORM', openTypeOrm)
