/* In transactions of Kysely: taken as it is. */
import { CamelCasePlugin, ParseJSONResultsPlugin } from 'kysely'
import { openKysely } from '../runtimes/outbox/kysely.ts'
import { outboxClaims } from './claims.ts'

outboxClaims('Kysely', openKysely)
outboxClaims('Kysely with CamelCasePlugin', (url) => openKysely(url, new CamelCasePlugin()))
outboxClaims('Kysely with ParseJSONResultsPlugin', (url) => openKysely(url, new ParseJSONResultsPlugin()))
