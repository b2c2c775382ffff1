/* What is run in each runtime: known answers, and both kinds of secrets there and back. It touches no platform. */
import { newSecret } from '../../src/webhooks/secrets.ts'
import { signWebhook, verifyWebhook } from '../../src/webhooks/signing/index.ts'

const sharedSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const [privateKey, publicKey] = [
  'whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=',
  'whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g=',
] as const
const now = new Date(1_614_265_330_000)
const body = '{"test": 2432232314}'
const message = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: now, body }

export interface Findings {
  readonly signature: string
  /** Ids, verified with the shared secret and with the public key. */
  readonly verified: readonly string[]
  /** Codes of the errors for another body. */
  readonly tampered: readonly string[]
  /** Ids, verified with secrets that were made here. */
  readonly made: readonly string[]
}

export async function findings(): Promise<Findings> {
  const headers = { ...(await signWebhook(message, [sharedSecret, privateKey])) }
  const secrets = [sharedSecret, publicKey]
  return {
    signature: headers['webhook-signature'],
    verified: await Promise.all(secrets.map((secret) => verified(headers, body, secret))),
    tampered: await Promise.all(secrets.map((secret) => verified(headers, `${body} `, secret))),
    made: await Promise.all([madeShared(), madePair()].map(thereAndBack)),
  }
}

/** The id, or the code of the error. */
async function verified(headers: Record<string, string>, text: string, secret: string): Promise<string> {
  const request = new Request('https://receiver.example/', { method: 'POST', headers, body: text })
  try {
    return (await verifyWebhook(request, secret, { now })).id
  } catch (error) {
    return (error as { code: string }).code
  }
}

async function thereAndBack(making: Promise<readonly [signs: string, verifies: string]>): Promise<string> {
  const [signs, verifies] = await making
  return verified({ ...(await signWebhook(message, [signs])) }, body, verifies)
}

async function madeShared(): Promise<readonly [string, string]> {
  const secret = newSecret()
  return [secret, secret]
}

/** As whoever brings a key of their own makes one. */
async function madePair(): Promise<readonly [string, string]> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
  const { d = '', x = '' } = await crypto.subtle.exportKey('jwk', pair.privateKey)
  const standard = (text: string) => `${text.replaceAll('-', '+').replaceAll('_', '/')}=`
  return [`whsk_${standard(d)}`, `whpk_${standard(x)}`]
}
