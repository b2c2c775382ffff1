/* Messages in the shape in which Lambda hands those of an SQS queue to a function, and what the function's answer says of them. Pure.
 * https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html */
import { toBase64 } from '../wire.ts'
import { md5 } from './md5.ts'
import type { Message } from './message.ts'

export interface SqsEvent {
  Records: SqsRecord[]
}

/** (Arrays and fields may be written to, as the types that handlers are written against say so.) */
export interface SqsRecord {
  messageId: string
  receiptHandle: string
  /** The text; of JSON, what JSON.stringify makes of its value; of bytes, their base64. */
  body: string
  attributes: SqsAttributes
  /** The message's headers. */
  messageAttributes: Record<string, SqsMessageAttribute>
  md5OfBody: string
  eventSource: 'aws:sqs'
  eventSourceARN: string
  awsRegion: string
}

export interface SqsAttributes {
  ApproximateReceiveCount: string
  SentTimestamp: string
  SenderId: string
  ApproximateFirstReceiveTimestamp: string
  SequenceNumber?: string
  MessageGroupId?: string
}

export interface SqsMessageAttribute {
  stringValue: string
  stringListValues: never[]
  binaryListValues: never[]
  dataType: 'String'
}

interface Sorted {
  /** What the handler gets. */
  readonly records: Map<Message, SqsRecord>
  /** What no handler can get, because the schema has something against it, with what that is. */
  readonly failed: Map<Message, unknown>
  /** What must not be handled before those, because it is of the same group. */
  readonly behind: readonly Message[]
}

/** A batch as records. One message that does not fit must not take the others along. */
export function recordsOf(messages: readonly Message[], arn: string): Sorted {
  const records = new Map<Message, SqsRecord>()
  const failed = new Map<Message, unknown>()
  const behind: Message[] = []
  for (const message of messages) {
    const { group } = message
    if (group !== undefined && [...failed.keys()].some((one) => one.group === group)) behind.push(message)
    else {
      try {
        records.set(message, toRecord(message, arn))
      } catch (error) {
        failed.set(message, error)
      }
    }
  }
  return { records, failed, behind }
}

/** @throws what reading the message's body throws, where a schema refuses it. */
function toRecord(message: Message, eventSourceARN: string): SqsRecord {
  const { id, receipt, attempts, sentAt, firstReceivedAt, group, headers } = message
  const body = textOf(message)
  return {
    messageId: id,
    receiptHandle: receipt,
    body,
    attributes: {
      ApproximateReceiveCount: String(attempts),
      SentTimestamp: String(Date.parse(sentAt)),
      SenderId: 'postbag',
      ApproximateFirstReceiveTimestamp: String(Date.parse(firstReceivedAt)),
      ...(group !== undefined && { SequenceNumber: id.padStart(20, '0'), MessageGroupId: group }),
    },
    messageAttributes: Object.fromEntries(
      Object.entries(headers).map(([name, stringValue]) => [
        name,
        { stringValue, stringListValues: [], binaryListValues: [], dataType: 'String' },
      ]),
    ),
    md5OfBody: md5(body),
    eventSource: 'aws:sqs',
    eventSourceARN,
    awsRegion: eventSourceARN.split(':')[3] ?? '',
  }
}

function textOf({ encoding, body }: Message): string {
  if (encoding === 'json') return JSON.stringify(body)
  return encoding === 'text' ? (body as string) : toBase64(body as Uint8Array)
}

/** The ids of a batch that failed, as what the handler returned says: none if it names none; all if it names one that is not there, or says
 * something else. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html */
export function failuresIn(returned: unknown, ids: readonly string[]): readonly string[] {
  const failures = (returned as { batchItemFailures?: unknown } | null | undefined)?.batchItemFailures ?? []
  if (!Array.isArray(failures)) return ids
  const named = failures.map((failure) => failure?.itemIdentifier)
  return named.every((id) => ids.includes(id)) ? named : ids
}
