/* In transactions of Prisma. */
import { openPrisma } from '../runtimes/outbox/prisma.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('Prisma', openPrisma)
