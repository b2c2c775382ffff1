/* What every verb of a queue needs: where the queue is, and how its bodies are typed. */
import type { Connection } from './connection.ts'
import type { StandardSchema } from './schema.ts'

export interface RemoteQueue {
  readonly connection: Connection
  /** What follows /v1, such as "/queues/orders". */
  readonly path: string
  readonly schema: StandardSchema | undefined
}
