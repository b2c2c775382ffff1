/* Typed bodies: any validator that speaks Standard Schema v1 (Zod, Valibot, ArkType …). The interface is written down here as
 * https://standardschema.dev asks for, so that no package is needed. */
import { QueueError } from '../errors.ts'

/** What a validator offers. It describes the body as it is in the queue: as JSON, text or bytes. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What may be sent: the schema's input, which is also what is stored. */
export type InputOf<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['input']

/** What is received: the schema's output. */
export type OutputOf<Schema extends StandardSchema> = NonNullable<Schema['~standard']['types']>['output']

/** The schema's output for this body; without a schema the body itself.
 * @throws QueueError `request_invalid` with every issue in its message; its cause is the list. */
export async function validate(schema: StandardSchema | undefined, body: unknown): Promise<unknown> {
  if (!schema) return body
  const result = await schema['~standard'].validate(body)
  if (!result.issues) return result.value
  throw new QueueError('request_invalid', result.issues.map(sentence).join('; '), { cause: result.issues })
}

function sentence({ message, path = [] }: SchemaIssue): string {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part))
  return `${['body', ...keys].join('.')}: ${message}`
}
