/* Lines out of a stream of bytes, however it is cut into chunks. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { LineTooLong, linesOf } from '../../src/cli/lines.ts'

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

async function read(chunks: readonly (string | Uint8Array)[], maxBytes = 1000): Promise<string[]> {
  const lines: string[] = []
  const stream = streamOf(chunks.map((chunk) => Buffer.from(chunk)))
  for await (const some of linesOf(stream, maxBytes)) {
    for (const { number, bytes } of some) {
      lines.push(Buffer.from(bytes).toString('latin1'))
      assert.equal(number, lines.length)
    }
  }
  return lines
}

describe('lines', () => {
  test('end with a line feed, which the last one may lack', async () => {
    assert.deepEqual(await read(['a\nb\n']), ['a', 'b'])
    assert.deepEqual(await read(['a\nb']), ['a', 'b'])
    assert.deepEqual(await read(['\n\na\n']), ['', '', 'a'])
    assert.deepEqual(await read(['a\r\nb']), ['a\r', 'b'])
    assert.deepEqual(await read([]), [])
    assert.deepEqual(await read(['', '\n']), [''])
  })

  test('begin after a byte order mark, however it is cut', async () => {
    const [mark, x] = [Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from('x')]

    for (const lines of [['a', 'b'], ['a']]) {
      const text = Buffer.concat([mark, Buffer.from(lines.join('\n'))])
      assert.deepEqual(await read([text]), lines)
      assert.deepEqual(await read([...text].map((byte) => Buffer.from([byte]))), lines)
    }
    assert.deepEqual(await read([x, mark]), [Buffer.concat([x, mark]).toString('latin1')])
  })

  test('are the same however the stream is cut', async () => {
    const input = fc.array(
      fc.uint8Array({ size: 'small' }).map((bytes) => bytes.map((byte) => (byte < 64 ? 10 : byte))),
    )
    await fc.assert(
      fc.asyncProperty(input, async (chunks) => {
        const whole = Buffer.concat(chunks)
        const expected = whole.toString('latin1').split('\n')
        if (expected.at(-1) === '') expected.pop()

        assert.deepEqual(await read(chunks), expected)
      }),
    )
  })

  test('come with every chunk, not only at the end', async () => {
    const lines = linesOf(streamOf([Buffer.from('a\nb'), Buffer.from('\n'), Buffer.from('c')]), 10)

    const perChunk = []
    for await (const some of lines) perChunk.push(some.map(({ bytes }) => String(bytes)))

    assert.deepEqual(perChunk, [['a'], ['b'], ['c']])
  })
})

describe('a line that is too long', () => {
  test('is refused by its number, after the lines before it', async () => {
    const seen: number[] = []
    const reading = async () => {
      for await (const some of linesOf(streamOf([Buffer.from('a\nb\n12345678901\nc\n')]), 10)) {
        seen.push(...some.map(({ number }) => number))
      }
    }

    await assert.rejects(reading, (error) => error instanceof LineTooLong && error.number === 3)
    assert.deepEqual(seen, [1, 2])
  })

  test('is refused before it has been read to its end', async () => {
    let chunks = 0
    async function* endless() {
      for (; ; chunks++) yield Buffer.alloc(100, 'x')
    }

    await assert.rejects(linesOf(endless(), 1000).next(), LineTooLong)
    assert.ok(chunks <= 11, `${chunks} chunks`)
  })

  test('is one byte longer than the limit', async () => {
    assert.deepEqual(await read(['1234567890\n1234567890'], 10), ['1234567890', '1234567890'])
    await assert.rejects(read(['1234567890', '1\n'], 10), LineTooLong)
  })
})
