/* Keys of WebCrypto for secrets, imported once. Signing 1 kB, with a kept key and with one imported for it, in µs (best of 20 rounds):
 *
 *            Node 24      Deno 2.9     Bun 1.4
 *   HMAC     29, 60       24, 29       20, 23
 *   ed25519  66, 124      41, 54       36, 55
 *
 * The latest are kept, at most `maxKeys`. */
import { maxKeptSecrets } from '../../limits.ts'
import type { Bytes } from './base64.ts'
import { WebhookError } from './error.ts'
import { remembering } from './remember.ts'
import { parseSecret, type Secret, type SecretKind, secretKinds } from './secret.ts'

export interface Key {
  readonly kind: SecretKind
  readonly key: CryptoKey
}

export interface Keys {
  /** The key of a secret, if it is of one of these kinds.
   * @throws WebhookError secret_invalid, algorithm_unsupported */
  of(secret: string, allowed: readonly SecretKind[]): Promise<Key>
  /** How many are kept now. */
  readonly size: number
}

/** PKCS #8 of an ed25519 seed is this, and the seed (RFC 8410, section 7). WebCrypto takes private keys in no shorter form. */
const pkcs8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]

export function createKeys(maxKeys = maxKeptSecrets): Keys {
  const keyOf = remembering(maxKeys, (secret) => importKey(parseSecret(secret, secretKinds)))
  return {
    async of(secret, allowed) {
      parseSecret(secret, allowed)
      return keyOf(secret)
    },
    get size() {
      return keyOf.kept.size
    },
  }
}

const importing: Readonly<Record<SecretKind, (bytes: Bytes) => Promise<CryptoKey>>> = {
  shared: (bytes) => crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']),
  private: (seed) =>
    ed25519(crypto.subtle.importKey('pkcs8', Uint8Array.from([...pkcs8, ...seed]), 'Ed25519', false, ['sign'])),
  public: (bytes) => ed25519(crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify'])),
}

async function importKey({ kind, bytes }: Secret): Promise<Key> {
  return { kind, key: await importing[kind](bytes) }
}

/** What this runtime says to an algorithm that it lacks is not for readers of an error. */
async function ed25519(imported: Promise<CryptoKey>): Promise<CryptoKey> {
  try {
    return await imported
  } catch (error) {
    if ((error as Error).name !== 'NotSupportedError') throw error
    throw new WebhookError(
      'algorithm_unsupported',
      'this runtime has no Ed25519: use a secret that begins with whsec_, or a newer runtime',
      error,
    )
  }
}

/** Those that sign and verify. They hold no connection, so that Workers may share them between requests. */
export const keysInUse = createKeys()
