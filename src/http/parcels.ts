/* The messages of a request that sends or publishes, each with the trace that the request belongs to: a batch or one message object as JSON,
 * CloudEvents, or (with another content type) the raw body, of which the query says the rest. */
import type { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { QueueError } from '../errors.ts'
import type { Parcel } from '../queue/message.ts'
import type { MessageOptions, OutgoingMessage } from '../wire.ts'
import { bodySlices } from './body-slices.ts'
import { type DoorEnv, isJson } from './door.ts'
import { eventMode, eventParcels, type Mode } from './event-send.ts'
import { parcelOf } from './parcel.ts'
import { rawContent, refuseJsonAsForm } from './raw-send.ts'
import { traceOf, withTrace } from './trace-context.ts'
import { bytesOfBody, parseJson, queryOf, utf8, validate } from './validate.ts'

/** What the request may look like. */
export interface Shapes {
  /** The query beside a raw body. */
  readonly raw: z.ZodType
  /** The query beside JSON. */
  readonly query: z.ZodType
  /** JSON with `messages`. */
  readonly batch: z.ZodType
  /** JSON without. */
  readonly one: z.ZodType
  /** Whether an event's type is its routing key. Defaults to false. */
  readonly typeIsKey?: boolean
}

/** What a request asks to be sent. */
export interface Outgoing {
  readonly parcels: readonly Parcel[]
  /** Of a publish: whether each message must reach a queue. */
  readonly mandatory: boolean
}

/** @throws QueueError request_invalid, json_invalid, batch_too_large. */
export async function outgoingOf(context: Context<DoorEnv>, shapes: Shapes): Promise<Outgoing> {
  const mode = eventMode(context)
  const { parcels, mandatory } = await (mode ? eventsOf(context, mode, shapes) : ownOf(context, shapes))
  return {
    parcels: withTrace(parcels, traceOf(context.req.header('traceparent'), context.req.header('tracestate'))),
    mandatory,
  }
}

async function eventsOf(context: Context<DoorEnv>, mode: Mode, { typeIsKey }: Shapes): Promise<Outgoing> {
  const parcels = await eventParcels(context, mode)
  if (!typeIsKey) return { parcels, mandatory: false }
  return { parcels: parcels.map((parcel) => ({ ...parcel, routingKey: parcel.type ?? '' })), mandatory: false }
}

async function ownOf(context: Context<DoorEnv>, shapes: Shapes): Promise<Outgoing> {
  if (isJson(context)) {
    const { mandatory } = validate(shapes.query, queryOf(context), 'the query') as Mandatory
    return jsonOutgoing(utf8(await bytesOfBody(context)), shapes, mandatory)
  }
  const { mandatory = false, ...options } = validate(shapes.raw, queryOf(context), 'the query') as RawOptions
  const given = context.req.header('content-type')
  const bytes = new Uint8Array(await bytesOfBody(context))
  if (given === undefined && bytes.length === 0) {
    throw new QueueError(
      'request_invalid',
      'the request must have a body, got none (an empty message needs a content type)',
    )
  }
  const contentType = given ?? 'application/octet-stream'
  const content = rawContent(contentType, bytes)
  refuseJsonAsForm(contentType, content)
  return { parcels: [{ ...options, contentType, ...content }], mandatory }
}

interface Mandatory {
  readonly mandatory?: boolean
}

type RawOptions = MessageOptions & Mandatory

/** @param inQuery counts where the body does not say `mandatory` */
function jsonOutgoing(text: string, { batch, one }: Shapes, inQuery = false): Outgoing {
  const request = parseJson(text)
  const isBatch = typeof request === 'object' && request !== null && 'messages' in request
  const envelope = isBatch ? validate(batch, request, 'the request body') : validate(one, request, 'the message')
  const { mandatory = inQuery, ...message } = envelope as Mandatory
  const messages = isBatch ? (message as { messages: readonly OutgoingMessage[] }).messages : [message]
  const bodies = bodySlices(text)
  const parcels = (messages as readonly OutgoingMessage[]).map((message, index) => parcelOf(message, bodies[index]))
  return { parcels, mandatory }
}
