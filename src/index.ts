/* The public surface of the package "postbag": re-exports only. (The client over HTTP is "postbag/client".) */
export { createApp, type Dependencies, type Door, type Log } from './app.ts'
export { type Access, type AppConfig, type ServerConfig, serverConfig, tokenAccess } from './config.ts'
export type { Executor } from './db/call.ts'
export { connect, type DatabaseHandle } from './db/connect.ts'
export {
  type InstallReport,
  install,
  type Migration,
  packagedMigrations,
  printMigrations,
  uninstall,
} from './db/install.ts'
export type { DB as Tables } from './db/schema.ts'
export { type ErrorCode, errorStatus, QueueError } from './errors.ts'
export { type Direct, type DirectExchange, type DirectPublication, postbag } from './exchange/direct.ts'
export { signToken } from './http/token.ts'
export { type DrizzleHandle, fromDrizzle } from './outbox/drizzle.ts'
export { fromKnex, type KnexHandle } from './outbox/knex.ts'
export { fromMikroOrm, type MikroOrmHandle } from './outbox/mikro-orm.ts'
export { fromPostgresJs, type PostgresJsHandle } from './outbox/postgres-js.ts'
export { fromPrisma, type PrismaHandle } from './outbox/prisma.ts'
export { fromTypeOrm, type TypeOrmHandle } from './outbox/typeorm.ts'
export type {
  Asking,
  DirectMessage,
  DirectPolicy,
  DirectQueue,
  DirectRequestOptions,
  PostbagOptions,
} from './queue/direct.ts'
export type { Hub, Waiter } from './wakeup/hub.ts'
export { createListenHub, type ListenHubOptions } from './wakeup/listen-hub.ts'
export { createPollHub, type PollHubOptions } from './wakeup/poll-hub.ts'
export { type CheckedUrl, checkUrl, strictPolicy, type UrlPolicy } from './webhooks/check-url.ts'
export type * from './wire.ts'
