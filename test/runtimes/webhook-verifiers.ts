/* What receivers of webhooks verify with: two libraries that are not ours. */
export { Webhook as StandardWebhook } from 'standardwebhooks'
export { Webhook as SvixWebhook } from 'svix'
