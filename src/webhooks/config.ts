/* What a server that has endpoints is configured with: which URLs may be called, and what opens and seals secrets. */
import type { WebhookSettings } from '../config.ts'
import { QueueError } from '../errors.ts'
import type { UrlPolicy } from './check-url.ts'
import { createSecretBox, type SecretBox } from './secrets.ts'

export interface WebhookConfig {
  readonly box: SecretBox
  readonly policy: UrlPolicy
}

/** Undefined: no endpoints can be made. */
export function webhookConfig(settings: WebhookSettings | undefined): WebhookConfig | undefined {
  if (!settings) return undefined
  const { keys, allowPrivate, ports } = settings
  return { box: createSecretBox(keys), policy: { allowPrivate, allowHttp: allowPrivate, ...(ports && { ports }) } }
}

/** @throws QueueError webhooks_not_configured */
export function configured(webhooks: WebhookConfig | undefined): WebhookConfig {
  if (webhooks) return webhooks
  throw new QueueError(
    'webhooks_not_configured',
    'endpoints need POSTBAG_WEBHOOK_KEY, which seals their secrets: set it to 32 random bytes as base64 (openssl rand -base64 32)',
  )
}
