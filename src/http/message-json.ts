/* Messages as JSON text, with JSON bodies put in as they are stored: byte for byte, and without parsing them. */
import type { Raw } from '../queue/message.ts'
import type { Encoding, PeekedMessage, ReceivedMessage } from '../wire.ts'

/** `{"messages":[…]}`, and what else the answer says, such as `next`. */
export function messagesJson(messages: readonly Raw<ReceivedMessage | PeekedMessage>[], more: object = {}): string {
  const rest = JSON.stringify(more).slice(1, -1)
  return `{"messages":[${messages.map(messageJson).join(',')}]${rest && `,${rest}`}}`
}

/** One message, or reply. */
export function messageJson({ body, ...fields }: { readonly encoding: Encoding; readonly body: string }): string {
  const json = fields.encoding === 'json' ? body : JSON.stringify(body)
  return `${JSON.stringify(fields).slice(0, -1)},"body":${json}}`
}
