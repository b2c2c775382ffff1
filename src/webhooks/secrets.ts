/* The secrets of endpoints: made, checked, and sealed for the database, where nobody can read them who has not the key of the configuration.
 *
 * Sealed, one is `v1.<key id>.<iv>.<ciphertext>`: AES-256-GCM, base64url, with the endpoint's name as additional data, so that the secret of one
 * endpoint is worth nothing at another. Several keys may be known: the first seals, all open; so a key is replaced without a gap. */
import { QueueError } from '../errors.ts'
import { maxKeptSecrets } from '../limits.ts'
import { fromBase64, toBase64 } from '../wire.ts'
import { WebhookError } from './signing/error.ts'
import { remembering } from './signing/remember.ts'
import { parseSecret, signingKinds } from './signing/secret.ts'

export interface SecretBox {
  seal(secret: string, endpoint: string): Promise<string>
  /** @throws Error if it was sealed with a key that is not known, for another endpoint, or has been changed */
  open(sealed: string, endpoint: string): Promise<string>
}

const IV_BYTES = 12
const SECRET_BYTES = 32

/** A new secret for HMAC-SHA256, as receivers are told it: whsec_ and 32 random bytes. */
export function newSecret(): string {
  return `whsec_${toBase64(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)))}`
}

/** Refuse what cannot sign, which a caller may have brought.
 * @throws QueueError request_invalid; no character of the secret is in it */
export function checkSecret(given: string): void {
  try {
    parseSecret(given, signingKinds)
  } catch (error) {
    throw error instanceof WebhookError ? new QueueError('request_invalid', error.message) : error
  }
}

/** @param keys as in the configuration, which has checked them */
export function createSecretBox(keys: string): SecretBox {
  const known = keys.split(',').map((text) => keyOf(text.trim()))
  const sealing = known[0] as (typeof known)[number]
  // (Every delivery asks, and to open one takes longer than to sign with it.)
  const open = remembering(maxKeptSecrets, async (sealed: string, endpoint: string) => {
    const [version, id, iv, text] = sealed.split('.')
    const found = (await Promise.all(known)).find((one) => one.id === id)
    if (version !== 'v1' || !iv || !text || !found) throw new Error('a secret was sealed with a key that is not known')
    const opened = await crypto.subtle.decrypt(parameters(fromBase64Url(iv), endpoint), found.key, fromBase64Url(text))
    return new TextDecoder().decode(opened)
  })

  return {
    async seal(secret, endpoint) {
      const { id, key } = await sealing
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES))
      const sealed = await crypto.subtle.encrypt(parameters(iv, endpoint), key, new TextEncoder().encode(secret))
      return `v1.${id}.${toBase64Url(iv)}.${toBase64Url(new Uint8Array(sealed))}`
    },
    open,
  }
}

async function keyOf(text: string): Promise<{ readonly id: string; readonly key: CryptoKey }> {
  const bytes = fromBase64(text)
  // What tells keys apart, and nothing of the key.
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const key = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt'])
  return { id: toBase64Url(digest.subarray(0, 6)), key }
}

const parameters = (iv: Uint8Array<ArrayBuffer>, endpoint: string): AesGcmParams => ({
  name: 'AES-GCM',
  iv,
  additionalData: new TextEncoder().encode(endpoint),
})

function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return fromBase64(text.replaceAll('-', '+').replaceAll('_', '/'))
}
