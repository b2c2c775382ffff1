/* A policy as the client sees it. Every method may throw a QueueError and the reason of the signal it was given. */
import type { PolicyConfig, PolicyInfo } from '../wire.ts'
import type { CallOptions, Connection } from './connection.ts'
import type { Given } from './effects.ts'
import { pathTo } from './path.ts'

export class Policy {
  readonly name: string
  readonly #connection: Connection
  readonly #path: string

  constructor(connection: Connection, name: string) {
    this.name = name
    this.#connection = connection
    this.#path = pathTo('policies', name)
  }

  /** Create the policy, or replace all of it. When this resolves, all queues that match have its settings, where neither they nor a more
   * specific policy say otherwise. Throws `request_invalid` if one cannot have them; then nothing is changed. */
  async set(
    { pattern, settings }: { readonly pattern: string; readonly settings: Given<PolicyConfig['settings']> },
    options?: CallOptions,
  ): Promise<PolicyInfo> {
    return (await this.#connection.call<PolicyInfo>('PUT', this.#path, { pattern, settings }, options)).data
  }

  /** The policy, and how many queues it matches. Throws `policy_not_found` if there is none. */
  async info(options?: CallOptions): Promise<PolicyInfo> {
    return (await this.#connection.call<PolicyInfo>('GET', this.#path, undefined, options)).data
  }

  /** Delete the policy; how many queues it matched. Throws `policy_not_found` if there is none, also when a first try deleted it and the
   * answer got lost. */
  async delete(options?: CallOptions): Promise<number> {
    const { data } = await this.#connection.call<{ matchingQueues: number }>('DELETE', this.#path, undefined, options)
    return data.matchingQueues
  }
}
