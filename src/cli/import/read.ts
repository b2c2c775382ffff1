/* The text of a file, or of standard input, that may have a certain size. */
import { createReadStream } from 'node:fs'
import { maxRequestBytes } from '../../limits.ts'
import { Ending, exitCodes } from '../exit.ts'

/** @param file - is standard input
 * @throws Ending badInput for what is too large, or no text. */
export async function readFileOrInput(file: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of file === '-' ? process.stdin : createReadStream(file)) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxRequestBytes)
      throw new Ending(exitCodes.badInput, `${file}: it must be at most ${maxRequestBytes} bytes`)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw new Ending(exitCodes.badInput, `${file}: it must be UTF-8 text, got other bytes`)
  }
}
