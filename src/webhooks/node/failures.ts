/* What went wrong with a request of node:http or node:https, as one of our errors. Node, Deno and Bun say it in codes, mostly the same. */
import { AttemptFailure } from '../attempt.ts'

/** By the beginning of the code. */
const errors = [
  [/^HPE_HEADER_OVERFLOW/, 'too_large'],
  [/^(HPE_|ERR_HTTP|ERR_INVALID_HTTP)/, 'protocol'],
  [/^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_|ERR_SSL_|EPROTO|INVALID_CA|HOSTNAME_MISMATCH|.*CERT)/, 'tls'],
] as const

export function failureOf(thrown: unknown): AttemptFailure {
  if (thrown instanceof AttemptFailure) return thrown
  const { code = '', message = String(thrown) } = thrown as { readonly code?: string; readonly message?: string }
  const known = errors.find(([pattern]) => pattern.test(code))
  return new AttemptFailure(known?.[1] ?? 'connection', message || code)
}
