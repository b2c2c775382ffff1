/* Real-looking input, the same at every run: NDJSON events of 200 to 2,000 bytes as programs of many kinds write them. Several scripts,
 * emoji, escapes, numbers that JavaScript would print differently, odd spacing; and lines of bytes that are no text. */

/** Line `number` without its line break. */
export function eventLine(number: number): string {
  const random = randomFrom(number)
  const pick = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)] as Value
  // Some producers put spaces between the tokens, some escape all that is not ASCII.
  const space = ' '.repeat(number % 3)
  const written = number % 5 === 0 ? asciiOnly : (text: string) => text
  const fields = [
    `"event":${number}`,
    `"type":"${pick(['order.created', 'payment.failed', 'user.signed_up', 'sensor.read'])}"`,
    `"amount":${pick(numbers)}`,
    `"ref":"${String(Math.floor(random() * 1e9)).padStart(40, '0')}"`,
    pick(oddities),
  ]
  const start = `{${fields.join(`,${space}`)},"text":"`
  let left = 200 + Math.floor(random() ** 3 * 1800) - Buffer.byteLength(start) - 2
  let text = ''
  while (left > 0) {
    const word = written(JSON.stringify(`${pick(words)} `).slice(1, -1))
    left -= Buffer.byteLength(word)
    text += left >= 0 ? word : '.'.repeat(left + Buffer.byteLength(word))
  }
  return `${start}${text}"}`
}

/** Bytes that are no UTF-8 text, but no line break either. */
export function binaryLine(number: number): Uint8Array {
  const random = randomFrom(number)
  const bytes = Uint8Array.from({ length: 200 + Math.floor(random() * 1800) }, () => Math.floor(random() * 256))
  return Uint8Array.from([0xff, ...bytes.filter((byte) => byte !== 10)])
}

const numbers = [
  '1.0',
  '12345678901234567890',
  '-0',
  '1E400',
  '0.10',
  '1e-7',
  '3.141592653589793238462643383279',
  '100',
]

const oddities = [
  '"escaped":"tab\\t, line\\n, quote\\", slash\\/, null\\u0000, half \\ud83d of a pair"',
  '"nested":{"a":[1, 2,[3,{"b":[]}]],"":null}',
  '"twice":1,"twice":2',
  '"__proto__":{"x":true}',
  '"brackets":"}]{[\\\\"',
]

const words = [
  'Grüße',
  'naïveté',
  'Здравствуйте',
  'Ελληνικά',
  'שלום',
  'مرحبا بالعالم',
  'नमस्ते',
  'สวัสดี',
  '你好，世界',
  'こんにちは',
  '안녕하세요',
  '𝔘𝔫𝔦𝔠𝔬𝔡𝔢',
  '👩‍👩‍👧‍👦',
  '🇺🇦',
  'e\u0301',
  '\u202eright-to-left',
  '\ufeff',
  '\u2028',
  '\u007f',
  '\u0001',
  'plain words',
]

function asciiOnly(text: string): string {
  return text.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Mulberry32: small, and good enough here. */
function randomFrom(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
