/* A message that was looked at, for people: all that is known of it. Pure. Nothing in it is obeyed by a terminal. */
import type { DeadLetter, PeekedMessage } from '../wire.ts'
import { counted, harmless, listed } from './output.ts'
import type { Received } from './received.ts'

export function messageSheet(received: Received<PeekedMessage>): string {
  const { message } = received
  const { headers, deadLetters = [] } = message
  const lines: [name: string, said: string | undefined][] = [
    ['id', message.id],
    ['state', shownState(message)],
    ['type', message.type],
    ['content type', message.contentType],
    ['exchange', message.exchange],
    ['routing key', message.routingKey],
    ['correlation id', message.correlationId],
    ['reply to', message.replyTo],
    ['group', message.group],
    ['priority', String(message.priority)],
    ['attempts', String(message.attempts)],
    ['sent at', message.sentAt],
    ['first received at', message.firstReceivedAt],
    ['available at', message.availableAt],
    ['leased until', message.leasedUntil],
    ['expires at', message.expiresAt],
    ['dead at', message.deadAt],
    ['last error', message.lastError],
    ...Object.entries(headers).map(([name, value]): [string, string] => ['header', `${name}=${value}`]),
    ...deadLetters.map((death): [string, string] => ['dead letter', deathIn(death)]),
  ]
  const known = lines.flatMap(([name, said]) => (said === undefined ? [] : [[name, said] as const]))
  return `${listed(known)}\n\n${shownBody(received)}`
}

/** "dead (attempts)" */
export function shownState({ state, deadReason }: PeekedMessage): string {
  return deadReason === undefined ? state : `${state} (${deadReason})`
}

/** The body as it may be shown: JSON and text as they are, bytes in base64. */
export function shownBody({ message, bodyJson }: Received<PeekedMessage>): string {
  if (message.encoding === 'json') return harmless(bodyJson)
  return message.encoding === 'text' ? harmless(String(message.body)) : `(bytes) ${message.body}`
}

/** "2026-01-02T03:04:05Z in orders: attempts, after 5 attempts: no stock" */
function deathIn({ at, queue, reason, attempts, error }: DeadLetter): string {
  return `${at} in ${queue}: ${reason}, after ${counted(attempts, 'attempt')}${error === undefined ? '' : `: ${error}`}`
}
