/* A message of a JSON request, with its JSON body as the text it came as. */
import type { Parcel } from '../queue/message.ts'
import type { Content, MessageOptions } from '../wire.ts'

/** @param source the text of its body, if there is one */
export function parcelOf(
  { encoding = 'json', body, ...options }: Content & MessageOptions,
  source: string | undefined,
): Parcel {
  return { ...options, encoding, body: encoding === 'json' ? (source ?? 'null') : String(body) }
}
