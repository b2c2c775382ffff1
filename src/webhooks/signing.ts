/* Signatures of webhooks, as Standard Webhooks 1.0 says: over `<id>.<timestamp>.<body>`, with each secret that signs at the time, so that a receiver
 * that knows the old one or the new one finds one of its own. Source: https://github.com/standard-webhooks/standard-webhooks, spec.
 *
 *   whsec_<base64>   HMAC-SHA256, 24 – 64 bytes: "v1,<base64>"
 *   whsk_<base64>    Ed25519, the seed of 32 bytes, or the seed and the public key: "v1a,<base64>" */
import { QueueError } from '../errors.ts'
import { fromBase64, toBase64 } from '../wire.ts'

/** Most imported keys that are kept: to import one takes longer than to sign with it. */
const MAX_KEYS = 1000
/** What comes before the seed in PKCS #8 (RFC 8410). */
const ED25519_PKCS8 = Uint8Array.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32])

interface Signer {
  readonly version: 'v1' | 'v1a'
  readonly algorithm: 'HMAC' | 'Ed25519'
  readonly key: CryptoKey
}

const signers = new Map<string, Promise<Signer>>()

/** The three headers of a request, by their names in lower case.
 * @param secrets at least one; the order of the signatures is theirs
 * @param at when the attempt is made; its seconds are signed
 * @throws QueueError request_invalid for what is no secret */
export async function signedHeaders(
  secrets: readonly string[],
  id: string,
  at: Date,
  body: string | Uint8Array<ArrayBuffer>,
): Promise<Readonly<Record<string, string>>> {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signed = joined(`${id}.${timestamp}.`, body)
  const signatures = await Promise.all(
    secrets.map(async (secret) => {
      const { version, algorithm, key } = await signerOf(secret)
      return `${version},${toBase64(new Uint8Array(await crypto.subtle.sign(algorithm, key, signed)))}`
    }),
  )
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') }
}

function signerOf(secret: string): Promise<Signer> {
  const known = signers.get(secret)
  if (known) return known
  const made = importSigner(secret)
  // (The oldest goes.)
  for (const eldest of signers.keys()) {
    if (signers.size < MAX_KEYS) break
    signers.delete(eldest)
  }
  signers.set(secret, made)
  made.catch(() => signers.delete(secret))
  return made
}

async function importSigner(secret: string): Promise<Signer> {
  const { version, bytes } = readSecret(secret)
  if (version === 'v1') {
    const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
    return { version, algorithm: 'HMAC', key }
  }
  const pkcs8 = Uint8Array.from([...ED25519_PKCS8, ...bytes.subarray(0, 32)])
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign'])
  return { version, algorithm: 'Ed25519', key }
}

/** What a secret says, which a caller may have brought.
 * @throws QueueError request_invalid; the secret is not in it */
export function readSecret(secret: string): Pick<Signer, 'version'> & { readonly bytes: Uint8Array<ArrayBuffer> } {
  const [, prefix, text = ''] = /^(whsec|whsk)_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? []
  const bytes = decoded(text)
  const { length } = bytes
  if (prefix === 'whsec' && length >= 24 && length <= 64) return { version: 'v1', bytes }
  if (prefix === 'whsk' && (length === 32 || length === 64)) return { version: 'v1a', bytes }
  throw new QueueError(
    'request_invalid',
    'secret must be whsec_ and 24 to 64 bytes as base64, or whsk_ and 32 or 64 bytes as base64 (Ed25519)',
  )
}

/** Nothing, if the text is no base64. */
function decoded(text: string): Uint8Array<ArrayBuffer> {
  try {
    return fromBase64(text)
  } catch {
    return new Uint8Array()
  }
}

function joined(head: string, body: string | Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder()
  const tail = typeof body === 'string' ? encoder.encode(body) : body
  const bytes = new Uint8Array(head.length + tail.length)
  bytes.set(encoder.encode(head))
  bytes.set(tail, head.length)
  return bytes
}
