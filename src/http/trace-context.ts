/* W3C Trace Context: the trace that a request belongs to goes with its messages, as the headers traceparent and tracestate. What is not valid
 * is ignored, as the standard says (sections 3.2.2.3 and 4.3). Pure. */
import { maxHeadersBytes } from '../limits.ts'
import type { Parcel } from '../queue/message.ts'

/** Most characters of a tracestate; of a longer one the last entries are dropped (section 3.3.1.5). */
const maxStateLength = 512

export interface Trace {
  readonly traceparent: string
  readonly tracestate?: string
}

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
    return isOwn || new TextEncoder().encode(JSON.stringify(headers)).length > maxHeadersBytes
      ? parcel
      : { ...parcel, headers }
  })
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
