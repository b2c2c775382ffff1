/* Messages out of an answer's text, their JSON bodies as the bytes they came as. Pure. */
import { bodySlices } from '../http/body-slices.ts'
import type { PeekedMessage, ReceivedMessage } from '../wire.ts'

/** A message as it was answered, and the JSON text of its body. */
export interface Received<Message extends ReceivedMessage | PeekedMessage> {
  readonly message: Message
  readonly bodyJson: string
}

/** @param messages what `text` says, parsed */
export function receivedOf<Message extends ReceivedMessage | PeekedMessage>(
  messages: readonly Message[],
  text: string,
): readonly Received<Message>[] {
  const slices = bodySlices(text)
  return messages.map((message, index) => ({ message, bodyJson: slices[index] ?? 'null' }))
}

/** The message as one line of JSON. Line breaks can only stand between the tokens of a body, where a space means the same. */
export function messageLine({ message, bodyJson }: Received<ReceivedMessage | PeekedMessage>): string {
  const { body, ...fields } = message
  return `${JSON.stringify(fields).slice(0, -1)},"body":${bodyJson.replace(/[\r\n]/g, ' ')}}`
}

/** The body alone, byte for byte: the JSON as it was sent, the text, or the bytes. */
export function bodyBytes({ message, bodyJson }: Received<ReceivedMessage | PeekedMessage>): Uint8Array {
  if (message.encoding === 'json') return Buffer.from(bodyJson)
  return Buffer.from(message.body as string, message.encoding === 'text' ? 'utf8' : 'base64')
}
