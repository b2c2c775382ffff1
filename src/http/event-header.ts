/* Attribute values in HTTP headers: percent-encoded as the HTTP binding of CloudEvents wants it (1.0.2, section 3.1.3.2). Pure. */

/** With space, double quote, percent, and all that is not printable ASCII, percent-encoded. */
export function encodeHeader(text: string): string {
  return text.replace(/[^!#$&-~]+/gu, (odd) =>
    [...new TextEncoder().encode(odd)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
}

/** The text that a header stands for. A percent sign that encodes nothing stands for itself: some senders do not encode it.
 * @throws TypeError for bytes that are not UTF-8. */
export function decodeHeader(value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1]
  const text = quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1')
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytesOf(text))
}

/** A header's characters are its bytes, unless the platform has decoded them already. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const isDecoded = /[^\0-\xff]/.test(text)
  const bytes: number[] = []
  for (const [part] of text.matchAll(/%[0-9A-Fa-f]{2}|./gsu)) {
    if (part.length === 3) bytes.push(Number.parseInt(part.slice(1), 16))
    else if (isDecoded) bytes.push(...new TextEncoder().encode(part))
    else bytes.push(part.charCodeAt(0))
  }
  return Uint8Array.from(bytes)
}
