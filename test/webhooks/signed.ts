/* A webhook that every test of signing begins with, and how it is changed. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { WebhookErrorCode } from '../../src/webhooks/signing/error.ts'
import { signWebhook } from '../../src/webhooks/signing/sign.ts'
import { type VerifyOptions, verifyWebhook } from '../../src/webhooks/signing/verify.ts'

export const now = new Date('2026-11-28T12:00:00Z')
export const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
export const otherSecret = `whsec_${btoa('another secret of 32 bytes, yes.')}`
export const privateKey = `whsk_${btoa('TESTSIGNINGKEYDONOTUSETHISFORANY')}`
export const body = '{"type":"order.paid","data":{"id":1}}'
export const bytesOf = (text: string) => new TextEncoder().encode(text)

export type RawHeaders = Record<string, string | readonly string[] | undefined>

/** The headers of a webhook that was signed at a time, with some of them changed. */
export async function signed(changed: RawHeaders = {}, at = now, secrets = [secret]): Promise<RawHeaders> {
  return { ...(await signWebhook({ id: 'msg_1', timestamp: at, body: bytesOf(body) }, secrets)), ...changed }
}

/** whpk_… of a private key of 32 bytes, by OpenSSL. */
export function publicKeyOf(privateKey: string): string {
  const seed = Buffer.from(privateKey.replace('whsk_', ''), 'base64')
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const { x = '' } = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })).export({
    format: 'jwk',
  })
  return `whpk_${Buffer.from(x, 'base64url').toString('base64')}`
}

/** The code and the message with which it is refused. */
export async function refused(
  headers: RawHeaders,
  text: string | Uint8Array = body,
  secrets: string | readonly string[] = secret,
  options: VerifyOptions = {},
): Promise<{ readonly code: WebhookErrorCode; readonly message: string }> {
  let error: unknown
  await verifyWebhook({ headers, body: text }, secrets, { now, ...options }).catch((thrown) => {
    error = thrown
  })
  assert.equal((error as Error | undefined)?.name, 'WebhookError', String(error))
  return error as { readonly code: WebhookErrorCode; readonly message: string }
}
