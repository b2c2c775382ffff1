/* W3C Trace Context: the trace that a request belongs to goes with its messages, as the headers traceparent and tracestate. What is not valid
 * is ignored, as the standard says (sections 3.2.2.3 and 4.3). Pure. */
import type { RoutedParcel } from '../exchange/publish.ts'
import { maxHeadersBytes } from '../limits.ts'
import type { Parcel } from '../queue/message.ts'
import { bytesOfHeaders } from './fields.ts'

/** Most characters of a tracestate; of a longer one the last entries are dropped (section 3.3.1.5). */
const maxStateLength = 512

export interface Trace {
  readonly traceparent: string
  readonly tracestate?: string
}

/** Bytes of the headers' room that a trace leaves to what the database adds: which exchange a message came from, or will come from as a dead
 * letter, and by which key. */
const reservedBytes = 1024

/** The trace that these two say; undefined if they say none. */
export function traceOf(traceparent: string | undefined, tracestate: string | undefined): Trace | undefined {
  if (traceparent === undefined || !isTraceparent(traceparent)) return undefined
  const state = tracestate === undefined || !/^[\t -~]+$/.test(tracestate) ? '' : bounded(tracestate)
  return { traceparent, ...(state !== '' && { tracestate: state }) }
}

/** The parcels, each with the trace in its headers, unless it names one of its own or has no room for it. */
export function withTrace(parcels: readonly Parcel[], trace: Trace | undefined): readonly Parcel[] {
  if (!trace) return parcels
  return parcels.map((parcel) => {
    const headers = { ...parcel.headers, ...trace }
    const isOwn = parcel.headers !== undefined && Object.hasOwn(parcel.headers, 'traceparent')
    return isOwn || bytesToStore(parcel, headers) > maxHeadersBytes ? parcel : { ...parcel, headers }
  })
}

/** (These fields are kept among the headers, and take up to 1.5 KiB each.) */
function bytesToStore(parcel: RoutedParcel, headers: Parcel['headers']): number {
  const { correlationId = '', replyTo = '', routingKey = '' } = parcel
  const fields = {
    'postbag-correlation-id': correlationId,
    'postbag-reply-to': replyTo,
    'postbag-routing-key': routingKey,
  }
  return reservedBytes + bytesOfHeaders({ ...headers, ...fields })
}

/** Version 00; or a later one, of which more may follow. */
function isTraceparent(text: string): boolean {
  const [, version, more] =
    /^([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{1,200})?$/.exec(text) ?? []
  return version !== undefined && version !== 'ff' && (version !== '00' || more === undefined)
}

function bounded(tracestate: string): string {
  return tracestate.length <= maxStateLength
    ? tracestate
    : tracestate.slice(0, maxStateLength + 1).replace(/,?[^,]*$/, '')
}
