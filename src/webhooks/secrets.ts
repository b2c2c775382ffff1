/* The secrets of endpoints: made, checked, and sealed for the database, where nobody can read them who has not the key of the configuration.
 *
 * Sealed, one is `v1.<key id>.<iv>.<ciphertext>`: AES-256-GCM, base64url, with the endpoint's name as additional data, so that the secret of one
 * endpoint is worth nothing at another. Several keys may be known: the first seals, all open; so a key is replaced without a gap. */
import { QueueError } from '../errors.ts'

export interface SecretBox {
  seal(secret: string, endpoint: string): Promise<string>
  /** @throws Error if it was sealed with a key that is not known, for another endpoint, or has been changed */
  open(sealed: string, endpoint: string): Promise<string>
}

const IV_BYTES = 12
const SECRET_BYTES = 32

/** A new secret for HMAC-SHA256, as receivers are told it: whsec_ and 32 random bytes. */
export function newSecret(): string {
  return `whsec_${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(SECRET_BYTES))))}`
}

/** @param keys as in the configuration, which has checked them */
export function createSecretBox(keys: string): SecretBox {
  const known = keys.split(',').map((text) => keyOf(text.trim()))
  const sealing = known[0] as (typeof known)[number]

  return {
    async seal(secret, endpoint) {
      const { id, key } = await sealing
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES))
      const sealed = await crypto.subtle.encrypt(parameters(iv, endpoint), key, new TextEncoder().encode(secret))
      return `v1.${id}.${toBase64Url(iv)}.${toBase64Url(new Uint8Array(sealed))}`
    },
    async open(sealed, endpoint) {
      const [version, id, iv, text] = sealed.split('.')
      const found = (await Promise.all(known)).find((one) => one.id === id)
      if (version !== 'v1' || !iv || !text || !found)
        throw new Error('a secret was sealed with a key that is not known')
      const opened = await crypto.subtle.decrypt(
        parameters(fromBase64Url(iv), endpoint),
        found.key,
        fromBase64Url(text),
      )
      return new TextDecoder().decode(opened)
    },
  }
}

async function keyOf(text: string): Promise<{ readonly id: string; readonly key: CryptoKey }> {
  const bytes = fromBase64Url(text)
  // What tells keys apart, and nothing of the key.
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])
  return { id: toBase64Url(digest.subarray(0, 6)), key }
}

/** A secret that a caller brings.
 * @throws QueueError request_invalid; the secret is not in it */
export function checkSecret(secret: string): string {
  const bytes = /^whsec_[\w+/]+={0,2}$/.test(secret) ? decoded(secret.slice('whsec_'.length)) : undefined
  const seed = /^whsk_[\w+/]+={0,2}$/.test(secret) ? decoded(secret.slice('whsk_'.length)) : undefined
  if (bytes && bytes.length >= 24 && bytes.length <= 64) return secret
  if (seed && (seed.length === 32 || seed.length === 64)) return secret
  throw new QueueError(
    'request_invalid',
    'secret must be whsec_ and 24 to 64 bytes as base64, or whsk_ and 32 or 64 bytes as base64 (Ed25519)',
  )
}

function decoded(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return fromBase64Url(base64)
  } catch {
    return undefined
  }
}

const parameters = (iv: Uint8Array<ArrayBuffer>, endpoint: string): AesGcmParams => ({
  name: 'AES-GCM',
  iv,
  additionalData: new TextEncoder().encode(endpoint),
})

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0))
}
