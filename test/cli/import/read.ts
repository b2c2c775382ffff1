/* Definitions as RabbitMQ exports them, read and translated. */
import { readDefinitions } from '../../../src/cli/import/definitions.ts'
import { type Translation, translate } from '../../../src/cli/import/translate.ts'

/** @param definitions those that matter; a file has more */
export function read(definitions: object, vhost?: string): Translation {
  return translate(readDefinitions('file', JSON.stringify({ queues: [], ...definitions })), vhost)
}

/** What is said of it, a line each. */
export function said({ findings }: Translation): readonly string[] {
  return findings.map(({ kind, subject, why }) => `${kind} ${subject}: ${why}`)
}
