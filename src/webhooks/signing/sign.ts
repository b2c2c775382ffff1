/* The sender's side of Standard Webhooks 1.0: the three headers of one attempt. */
import { maxWebhookSecrets } from '../../limits.ts'
import { toBase64 } from '../../wire.ts'
import { bytesOf, checkId, checkTimestamp, contentOf } from './content.ts'
import { WebhookError } from './error.ts'
import { type Key, keysInUse } from './keys.ts'
import { signingKinds } from './secret.ts'

export interface OutgoingWebhook {
  /** The same over all attempts, by which receivers know what they have seen: 1 – 255 visible ASCII characters without a full stop. */
  readonly id: string
  /** When this attempt is made. */
  readonly timestamp: Date
  /** The very text (as UTF-8) or bytes that are sent. */
  readonly body: string | Uint8Array
}

export interface WebhookHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

/** Sign with all secrets that are valid now (whsec_ or whsk_, 1 – 10), in their order: while a secret is being replaced, both sign.
 * @throws WebhookError header_invalid, secret_invalid, option_invalid, algorithm_unsupported */
export async function signWebhook(
  { id, timestamp, body }: OutgoingWebhook,
  secrets: readonly string[],
): Promise<WebhookHeaders> {
  if (secrets.length < 1 || secrets.length > maxWebhookSecrets) {
    throw new WebhookError('option_invalid', `secrets must be 1 to ${maxWebhookSecrets}, got ${secrets.length}`)
  }
  const seconds = checkTimestamp(String(Math.floor(timestamp.getTime() / 1000)))
  const content = contentOf(checkId(id), seconds, bytesOf(body))
  const signing = secrets.map(async (secret) => signature(await keysInUse.of(secret, signingKinds), content))
  return {
    'webhook-id': id,
    'webhook-timestamp': seconds,
    'webhook-signature': (await Promise.all(signing)).join(' '),
  }
}

async function signature({ kind, key }: Key, content: BufferSource): Promise<string> {
  const [version, algorithm] = kind === 'shared' ? ['v1', 'HMAC'] : ['v1a', 'Ed25519']
  return `${version},${toBase64(new Uint8Array(await crypto.subtle.sign(algorithm, key, content)))}`
}
