/* MD5 of a text's UTF-8 bytes, in hexadecimal (RFC 1321): part of what SQS says of a message. Written out, as the platforms' cryptography does
 * not have it everywhere. It protects nothing. Pure. */

const shifts = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]
const sines = Array.from({ length: 64 }, (_, at) => Math.floor(Math.abs(Math.sin(at + 1)) * 2 ** 32))

export function md5(text: string): string {
  const blocks = padded(new TextEncoder().encode(text))
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]
  for (let start = 0; start < blocks.byteLength; start += 64) {
    let [a, b, c, d] = state as [number, number, number, number]
    for (let at = 0; at < 64; at++) {
      const round = at >> 4
      const mixed = [(b & c) | (~b & d), (b & d) | (c & ~d), b ^ c ^ d, c ^ (b | ~d)][round] as number
      const word = [at, 5 * at + 1, 3 * at + 5, 7 * at][round] as number
      const sum = a + mixed + (sines[at] as number) + blocks.getUint32(start + (word % 16) * 4, true)
      const shift = shifts[round * 4 + (at % 4)] as number
      ;[a, d, c, b] = [d, c, b, (b + ((sum << shift) | ((sum >>> 0) >>> (32 - shift)))) | 0]
    }
    for (const [at, value] of [a, b, c, d].entries()) state[at] = ((state[at] as number) + value) | 0
  }
  const digest = new DataView(new ArrayBuffer(16))
  for (const [at, value] of state.entries()) digest.setInt32(at * 4, value, true)
  return Array.from(new Uint8Array(digest.buffer), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Blocks of 64 bytes: a one bit behind the text, and at the end its length in bits. */
function padded(bytes: Uint8Array): DataView {
  const blocks = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / 64) * 64))
  new Uint8Array(blocks.buffer).set(bytes)
  blocks.setUint8(bytes.length, 0x80)
  blocks.setBigUint64(blocks.byteLength - 8, BigInt(bytes.length) * 8n, true)
  return blocks
}
