/* What AWS's own SDK signs a request with: to compare with, and to check what comes as AWS does. */
import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'

export const credentials = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  AWS_SESSION_TOKEN: 'a token/with+signs=',
}

export const region = 'eu-central-1'

class Sha256 {
  readonly #hash: Hash | Hmac
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    const key = secret === undefined ? undefined : typeof secret === 'string' ? secret : bytesOf(secret)
    this.#hash = key === undefined ? createHash('sha256') : createHmac('sha256', key)
  }
  update(chunk: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof chunk === 'string' ? chunk : bytesOf(chunk))
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {}
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
}

const signer = new SignatureV4({
  service: 'lambda',
  region,
  applyChecksum: false,
  sha256: Sha256,
  credentials: {
    accessKeyId: credentials.AWS_ACCESS_KEY_ID,
    secretAccessKey: credentials.AWS_SECRET_ACCESS_KEY,
    sessionToken: credentials.AWS_SESSION_TOKEN,
  },
})

/** The header `authorization` of a POST with these headers, as the SDK makes it. */
export async function authorizationOf(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  signingDate: Date,
): Promise<string | undefined> {
  const { protocol, hostname, port, pathname, searchParams } = new URL(url)
  const query = Object.fromEntries(searchParams)
  const request = { method: 'POST', protocol, hostname, port: Number(port), path: pathname, query, headers, body }
  return (await signer.sign(request, { signingDate })).headers['authorization']
}

/** Whether a request's signature is good, and what it says was signed. */
export async function isSigned(
  url: string,
  headers: Readonly<Record<string, string | undefined>>,
  body: string,
): Promise<boolean> {
  const { authorization = '' } = headers
  const [, names = ''] = /SignedHeaders=([^,]+)/.exec(authorization) ?? []
  const signed = Object.fromEntries(names.split(';').map((name) => [name, headers[name] ?? '']))
  const [date, time] = (headers['x-amz-date'] ?? '').split('T')
  const iso = `${date?.replace(/(....)(..)(..)/, '$1-$2-$3')}T${time?.replace(/(..)(..)(..)/, '$1:$2:$3')}`
  return authorization === (await authorizationOf(url, signed, body, new Date(iso)))
}
