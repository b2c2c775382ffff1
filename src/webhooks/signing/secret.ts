/* Secrets of Standard Webhooks 1.0, told apart by their prefix; the rest is base64:
 *
 *   whsec_  24 – 64 random bytes, which sender and receiver share: HMAC-SHA256, signatures v1
 *   whsk_   the sender's private key, never given away: ed25519, signatures v1a; 32 bytes (the seed of RFC 8032), or 64 (seed and
 *           public key)
 *   whpk_   its public key, with which receivers verify: 32 bytes
 *
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
 * Errors name the rule and a length, never a character of what was given. Pure. */
import { type Bytes, strictBytes } from './base64.ts'
import { WebhookError } from './error.ts'

export const secretKinds = ['shared', 'private', 'public'] as const

export type SecretKind = (typeof secretKinds)[number]

export interface Secret {
  readonly kind: SecretKind
  /** The HMAC key, the seed, or the public key. */
  readonly bytes: Bytes
}

/** Those that a sender signs with. */
export const signingKinds = ['shared', 'private'] as const

const prefixes = { shared: 'whsec_', private: 'whsk_', public: 'whpk_' } as const

const rules: Readonly<Record<SecretKind, { readonly fits: (length: number) => boolean; readonly words: string }>> = {
  shared: {
    fits: (length) => length >= 24 && length <= 64,
    words: '24 to 64 bytes',
  },
  private: { fits: (length) => length === 32 || length === 64, words: '32 or 64 bytes' },
  public: { fits: (length) => length === 32, words: '32 bytes' },
}

/** Read a secret of one of these kinds.
 * @throws WebhookError secret_invalid */
export function parseSecret(text: string, allowed: readonly SecretKind[]): Secret {
  const kind = allowed.find((each) => typeof text === 'string' && text.startsWith(prefixes[each]))
  if (kind === undefined)
    return refuse(`begin with ${allowed.map((each) => prefixes[each]).join(' or ')}`, misfit(text))
  const bytes = strictBytes(text.slice(prefixes[kind].length))
  if (bytes === undefined)
    return refuse(`be base64 (A-Z a-z 0-9 + / and padding) after ${prefixes[kind]}`, 'other text')
  const { fits, words } = rules[kind]
  if (!fits(bytes.length)) return refuse(`be the base64 of ${words} after ${prefixes[kind]}`, `${bytes.length} bytes`)
  return { kind, bytes: kind === 'private' ? bytes.slice(0, 32) : bytes }
}

/** What is wrong with the prefix, without showing what may be a secret. */
function misfit(text: unknown): string {
  if (typeof text !== 'string') return text === null ? 'null' : typeof text
  const known = Object.values(prefixes).find((prefix) => text.startsWith(prefix))
  return known === undefined ? `${text.length} characters without` : `one that begins with ${known}`
}

function refuse(rule: string, got: string): never {
  throw new WebhookError('secret_invalid', `secret must ${rule}, got ${got}`)
}
