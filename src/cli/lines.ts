/* A stream of bytes as lines, in bounded memory: at most one line and one chunk are held. */

export interface Line {
  /** 1 is the first. */
  readonly number: number
  /** Without its "\n"; a "\r" before that belongs to the line. */
  readonly bytes: Uint8Array
}

export class LineTooLong extends Error {
  readonly number: number

  constructor(number: number, maxBytes: number) {
    super(`must be at most ${maxBytes} bytes`)
    this.number = number
  }
}

/** The lines that each chunk completes. The last line may lack its "\n"; a byte order mark before the first is no part of it.
 * @throws LineTooLong after the lines before it. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<readonly Line[]> {
  let number = 1
  let begun: Uint8Array[] = []
  let begunBytes = 0

  for await (const chunk of chunks) {
    const lines: Line[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end)
      if (begunBytes + piece.length > maxBytes) break
      lines.push(lineOf(number++, begun.length === 0 ? piece : Buffer.concat([...begun, piece])))
      begun = []
      begunBytes = 0
      start = end + 1
    }
    begun.push(chunk.subarray(start))
    begunBytes += chunk.length - start
    if (lines.length > 0) yield lines
    if (begunBytes > maxBytes) throw new LineTooLong(number, maxBytes)
  }
  if (begunBytes > 0) yield [lineOf(number, Buffer.concat(begun))]
}

function lineOf(number: number, bytes: Uint8Array): Line {
  const isMarked = number === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
  return { number, bytes: isMarked ? bytes.subarray(3) : bytes }
}
