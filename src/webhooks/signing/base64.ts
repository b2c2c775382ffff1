/* Base64 as secrets and signatures are written (RFC 4648, section 4: the standard alphabet, padded), strictly: one text for each sequence of
 * bytes. Pure. */
import { fromBase64, toBase64 } from '../../wire.ts'

export type Bytes = Uint8Array<ArrayBuffer>

/** Undefined if the text is not what toBase64 makes of some bytes. */
export function strictBytes(text: string): Bytes | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  const bytes = fromBase64(text)
  return toBase64(bytes) === text ? bytes : undefined
}
