/* What the commands on endpoints share: the client of endpoints where the other commands find Postbag, and words for
 * what an endpoint is. */
import { type EndpointClient, endpointClient } from '../../client/endpoints.ts'
import type { EndpointInfo } from '../../wire.ts'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer } from '../server.ts'

export interface EndpointOptions extends ServerOptions {
  readonly json?: boolean
}

export function useEndpoints(options: ServerOptions, use: (client: EndpointClient) => Promise<void>): Promise<void> {
  return useServer(options, ({ connection }) => use(endpointClient(connection)))
}

/** "disabled (gone)", "resting until 2026-…" */
export function stateOf({ state, disabledBecause, restingUntil }: EndpointInfo): string {
  if (state === 'disabled' && disabledBecause !== undefined) return `disabled (${disabledBecause})`
  return state === 'resting' ? `resting until ${restingUntil}` : state
}

/** A sentence, and the secret that is shown this once; or all of it as JSON. */
export async function writeWithSecret(info: EndpointInfo, json: boolean | undefined, sentence: string): Promise<void> {
  if (json) return writeJson(info)
  await writeLine(sentence)
  if (info.secret !== undefined) await writeLine(`Its secret, which is not shown again: ${info.secret}`)
}
