/* Messages as JSON text, with JSON bodies put in as they are stored: byte for byte, and without parsing them. */
import { maxAnswerLength } from '../limits.ts'
import type { Raw } from '../queue/message.ts'
import type { Encoding, PeekedMessage, ReceivedMessage } from '../wire.ts'

/** `{"messages":[…]}`, and what else the answer says, such as `next`. */
export function messagesJson(messages: readonly Raw<ReceivedMessage | PeekedMessage>[], more: object = {}): string {
  const rest = JSON.stringify(more).slice(1, -1)
  return `{"messages":[${messages.map(messageJson).join(',')}]${rest && `,${rest}`}}`
}

/** How many of these, from the first on, one answer takes: all until their bodies are as long as it may be, and at least one. */
export function fitting(messages: readonly { readonly body: string }[]): number {
  let length = 0
  for (const [index, { body }] of messages.entries()) {
    length += body.length
    if (length > maxAnswerLength) return Math.max(index, 1)
  }
  return messages.length
}

/** One message, or reply. */
export function messageJson({ body, ...fields }: { readonly encoding: Encoding; readonly body: string }): string {
  const json = fields.encoding === 'json' ? body : JSON.stringify(body)
  return `${JSON.stringify(fields).slice(0, -1)},"body":${json}}`
}
