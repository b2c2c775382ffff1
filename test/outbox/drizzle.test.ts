/* In transactions of Drizzle, over both drivers that give rows differently. */
import { openDrizzleOverPg, openDrizzleOverPostgresJs } from '../runtimes/outbox/drizzle.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('Drizzle over pg', openDrizzleOverPg)
outboxClaims('Drizzle over postgres.js', openDrizzleOverPostgresJs)
