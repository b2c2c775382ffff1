/* What is kept of an answer, whoever sends it and whatever he sends. Pure but for the bytes it is given. */
import { keptBodyBytes, keptHeaderBytes, keptHeaders } from '../limits.ts'
import { retryAfterSeconds } from './retry-after.ts'

export interface AnswerHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly areHeadersCut: boolean
  readonly retryAfterSeconds: number | undefined
}

/** @param pairs names and values as they came; a name that comes again adds to its value */
export function headOf(status: number, pairs: Iterable<readonly [string, string]>, now: Date): AnswerHead {
  const headers = new Map<string, string>()
  let bytes = 0
  let areHeadersCut = false
  let retryAfter: string | undefined
  for (const [name, value] of pairs) {
    const key = name.toLowerCase()
    if (key === 'retry-after') retryAfter ??= value
    const earlier = headers.get(key)
    const isRoom =
      bytes + key.length + value.length <= keptHeaderBytes && (earlier !== undefined || headers.size < keptHeaders)
    if (!isRoom) {
      areHeadersCut = true
      continue
    }
    bytes += key.length + value.length
    headers.set(key, visible(earlier === undefined ? value : `${earlier}, ${value}`))
  }
  return {
    status,
    headers: Object.fromEntries(headers),
    areHeadersCut,
    retryAfterSeconds: retryAfterSeconds(retryAfter, now),
  }
}

/** Takes a body in pieces, and keeps its beginning. */
export interface KeptBody {
  /** @returns how many bytes have come in all */
  take(bytes: Uint8Array): number
  readonly isCut: boolean
  text(): string
}

export function keepBody(): KeptBody {
  const kept = new Uint8Array(keptBodyBytes)
  let size = 0
  let came = 0
  return {
    take(bytes) {
      const part = bytes.subarray(0, kept.length - size)
      kept.set(part, size)
      size += part.length
      came += bytes.length
      return came
    },
    get isCut() {
      return came > size
    },
    /** A character that the end cuts in two is left out. */
    text: () => storable(new TextDecoder().decode(kept.subarray(0, size), { stream: came > size })),
  }
}

/** Postgres takes any text but this character. */
function storable(text: string): string {
  return text.replaceAll('\0', '\ufffd')
}

function visible(value: string): string {
  return value.replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd')
}
