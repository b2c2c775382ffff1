/* The receiver's side of Standard Webhooks 1.0: believe a webhook, or say why not.
 *
 *  1. Headers and time come first: what they refuse costs no reading and no cryptography.
 *  2. An HMAC is computed once per secret and compared with each v1 in constant time; each v1a is tried with each public key. Both counts
 *     are bounded, so that a hostile header costs little.
 *  3. Signatures of other versions, or that are none, are passed over: senders may add what receivers do not know yet. */
import { maxWebhookBodyBytes, maxWebhookSecrets, maxWebhookSignatures } from '../../limits.ts'
import { type Bytes, strictBytes } from './base64.ts'
import { checkId, checkTimestamp, contentOf } from './content.ts'
import { WebhookError } from './error.ts'
import { bodyOf, headerOf, type ReadWebhook } from './incoming.ts'
import { type Key, keysInUse } from './keys.ts'

const verifyingKinds = ['shared', 'public'] as const

export interface VerifyOptions {
  /** How far the sender's clock at signing and ours may be apart, in seconds, 1 – 86400. Defaults to 300. The larger, the longer what was
   * overheard can be played again. */
  readonly toleranceSeconds?: number | undefined
  /** Defaults to this machine's clock. */
  readonly now?: Date | undefined
  /** Most bytes of a body that is read. Defaults to 4 MiB. */
  readonly maxBodyBytes?: number | undefined
}

export interface VerifiedWebhook {
  /** The same over all attempts: what was done for an id need not be done again. */
  readonly id: string
  /** When this attempt was signed. */
  readonly timestamp: Date
  /** The body as text (UTF-8). */
  readonly body: string
  readonly bytes: Uint8Array
  /** The body's value, if it is JSON. */
  readonly json?: unknown
}

const maxToleranceSeconds = 86_400

/** Verify a webhook with a secret or several, 1 – 10 (whsec_, or whpk_ of a sender that signs with ed25519): one valid signature will do.
 * @throws WebhookError whose code says why it is not to be believed */
export async function verifyWebhook(
  webhook: Request | ReadWebhook,
  secrets: string | readonly string[],
  { toleranceSeconds = 300, now = new Date(), maxBodyBytes = maxWebhookBodyBytes }: VerifyOptions = {},
): Promise<VerifiedWebhook> {
  const tried = typeof secrets === 'string' ? [secrets] : secrets
  checkRange('secrets', tried?.length, 1, maxWebhookSecrets)
  checkRange('toleranceSeconds', toleranceSeconds, 1, maxToleranceSeconds)
  checkRange('maxBodyBytes', maxBodyBytes, 0, Number.MAX_SAFE_INTEGER)
  checkRange('now', now.getTime(), 0, Number.MAX_SAFE_INTEGER)
  const imported = await Promise.all(tried.map((secret) => keysInUse.of(secret, verifyingKinds)))

  const id = checkId(headerOf(webhook, 'webhook-id'))
  const timestamp = checkTimestamp(headerOf(webhook, 'webhook-timestamp'))
  const signatures = signaturesIn(headerOf(webhook, 'webhook-signature'))
  checkTime(Number(timestamp), Math.floor(now.getTime() / 1000), toleranceSeconds)

  const bytes = await bodyOf(webhook, maxBodyBytes)
  if (!(await anyMatches(imported, signatures, contentOf(id, timestamp, bytes)))) {
    throw new WebhookError(
      'signature_mismatch',
      `webhook-signature must hold a signature by one of ${tried.length} secrets, got none for this id, timestamp and body`,
    )
  }
  const body = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  return { id, timestamp: new Date(Number(timestamp) * 1000), body, bytes, ...parsed(body) }
}

function checkRange(subject: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return
  throw new WebhookError('option_invalid', `${subject} must be between ${min} and ${max}, got ${value}`)
}

function checkTime(seconds: number, now: number, tolerance: number): void {
  if (now - seconds > tolerance) {
    throw new WebhookError(
      'timestamp_too_old',
      `webhook-timestamp must be at most ${tolerance} s ago, got ${now - seconds} s ago`,
    )
  }
  if (seconds - now > tolerance) {
    throw new WebhookError(
      'timestamp_too_new',
      `webhook-timestamp must be at most ${tolerance} s ahead, got ${seconds - now} s ahead`,
    )
  }
}

interface Signature {
  readonly version: string
  readonly bytes: Bytes
}

function signaturesIn(header: string): readonly Signature[] {
  const given = header.split(' ').filter((part) => part !== '')
  if (given.length > maxWebhookSignatures) {
    throw new WebhookError(
      'header_invalid',
      `webhook-signature must hold at most ${maxWebhookSignatures} signatures, got ${given.length}`,
    )
  }
  return given.flatMap((part) => {
    const comma = part.indexOf(',')
    const bytes = comma > 0 ? strictBytes(part.slice(comma + 1)) : undefined
    return bytes ? [{ version: part.slice(0, comma), bytes }] : []
  })
}

async function anyMatches(keys: readonly Key[], signatures: readonly Signature[], content: Bytes): Promise<boolean> {
  const ofVersion = (version: string, length: number) =>
    signatures.filter((each) => each.version === version && each.bytes.length === length).map(({ bytes }) => bytes)
  const symmetric = ofVersion('v1', 32)
  const asymmetric = ofVersion('v1a', 64)
  const results = await Promise.all(
    keys.map(async ({ kind, key }) => {
      if (kind === 'public') {
        const verify = (bytes: Bytes) => crypto.subtle.verify('Ed25519', key, bytes, content)
        return (await Promise.all(asymmetric.map(verify))).includes(true)
      }
      if (symmetric.length === 0) return false
      const expected = new Uint8Array(await crypto.subtle.sign('HMAC', key, content))
      return symmetric.map((bytes) => equal(bytes, expected)).includes(true)
    }),
  )
  return results.includes(true)
}

/** In constant time, of bytes of one length. */
function equal(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length
  for (const [at, byte] of one.entries()) difference |= byte ^ (other[at] ?? 0)
  return difference === 0
}

function parsed(body: string): { readonly json?: unknown } {
  try {
    return { json: JSON.parse(body) }
  } catch {
    return {}
  }
}
