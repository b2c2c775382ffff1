/* Certificates for receivers on this machine, good ones and bad ones, made when they are needed. */
import 'reflect-metadata' // which @peculiar/x509 wants to find
import { webcrypto } from 'node:crypto'
import {
  BasicConstraintsExtension,
  cryptoProvider,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

interface Certificate {
  /** PEM. */
  readonly cert: string
  readonly key: string
}

export interface Authority {
  /** What is to be trusted, as PEM. */
  readonly ca: string
  /** For this name, until this time (in an hour, by default). */
  certify(name: string, notAfter?: Date): Promise<Certificate>
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const hour = 3_600_000

export async function createAuthority(): Promise<Authority> {
  cryptoProvider.set(webcrypto as Crypto)
  const keys = await keyPair()
  const name = 'CN=Authority of a test'
  const root = await X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - 48 * hour),
    notAfter: new Date(Date.now() + 48 * hour),
    extensions: [new BasicConstraintsExtension(true, undefined, true)],
  })
  return {
    ca: root.toString('pem'),
    async certify(host, notAfter = new Date(Date.now() + hour)) {
      const own = await keyPair()
      const certificate = await X509CertificateGenerator.create({
        subject: `CN=${host}`,
        issuer: name,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        notBefore: new Date(Date.now() - 24 * hour),
        notAfter,
        extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: host }])],
      })
      return { cert: certificate.toString('pem'), key: await pemOf(own.privateKey) }
    },
  }
}

async function keyPair(): Promise<CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair
}

async function pemOf(key: CryptoKey): Promise<string> {
  const bytes = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${bytes}\n-----END PRIVATE KEY-----\n`
}
