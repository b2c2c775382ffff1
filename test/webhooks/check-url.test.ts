/* Which URLs an endpoint may have. What they lead to when it is called: refused.ts, resolved.ts. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { kindOfAddress } from '../../src/webhooks/address.ts'
import { type CheckedUrl, checkUrl, strictPolicy, type UrlPolicy } from '../../src/webhooks/check-url.ts'

const development: UrlPolicy = { allowPrivate: true, allowHttp: true }

const accepted: [text: string, href: string, policy?: UrlPolicy][] = [
  ['https://example.com', 'https://example.com/'],
  ['https://EXAMPLE.com:443/Hooks?a=b', 'https://example.com/Hooks?a=b'],
  ['HTTPS://example.com:8443/', 'https://example.com:8443/'],
  ['https://bücher.example/ü', 'https://xn--bcher-kva.example/%C3%BC'],
  ['https://8.8.8.8/', 'https://8.8.8.8/'],
  ['https://[2606:4700:0::1111]/', 'https://[2606:4700::1111]/'],
  ['https://_dmarc.a-b.example.com/', 'https://_dmarc.a-b.example.com/'],
  ['http://example.com/', 'http://example.com/', { ...strictPolicy, allowHttp: true }],
  ['http://localhost:3000/', 'http://localhost:3000/', development],
  ['http://receiver/', 'http://receiver/', development],
  ['http://10.0.0.7/', 'http://10.0.0.7/', development],
  ['http://[::1]:8080/', 'http://[::1]:8080/', development],
  ['https://example.com:25/', 'https://example.com:25/', { ...strictPolicy, ports: [25] }],
]

const refused: [text: string, message: RegExp, policy?: UrlPolicy][] = [
  ['', /^url must begin with https:\/\/, got ""$/],
  ['example.com', /must begin with https:\/\//],
  ['ftp://example.com/', /must begin with https:\/\//],
  ['javascript:alert(1)', /must begin with https:\/\//],
  ['http://example.com/', /^url must begin with https:\/\/, got http:$/],
  ['https://', /^url must name a host, got none$/],
  ['https:///example.com/', /must name a host/],
  ['https://:443/', /must be a URL/],
  ['https://user@example.com/', /^url must have no user name or password, got "@"$/],
  ['https://user:secret@example.com/', /^url must have no user name or password, got "@"$/],
  ['https://@example.com/', /no user name/],
  ['https://example.com/#a', /^url must have no fragment, got "#"$/],
  ['https://example.com/#', /no fragment/],
  ['https://example.com/a b', /no spaces/],
  ['https://exam\tple.com/', /no spaces/],
  [' https://example.com/', /no spaces/],
  ['https://example.com\\@127.0.0.1/', /backslashes/],
  [`https://example.com/${'a'.repeat(2048)}`, /^url must have at most 2048 characters, got 2068$/],
  ['https://example.com:22/', /^url must have port 80, 443 or one from 1024 on, got 22$/],
  ['https://example.com:0/', /must have port 80, 443 or one from 1024 on, got 0$/],
  ['https://example.com:65536/', /must be a URL/],
  [
    'https://example.com:8443/',
    /^url must have one of the ports 443, 9443, got 8443$/,
    { ...strictPolicy, ports: [443, 9443] },
  ],
  ['https://example.com./', /without a dot at the end/],
  ['https://a..example.com/', /must have a host name/],
  ['https://-a.example.com/', /must have a host name/],
  [`https://${'a'.repeat(64)}.com/`, /must have a host name/],
  ["https://a'b.example.com/", /must have a host name/],
  ['https://ex%61mple.com/', /must have a host without "%"/],
  ['https://0x08.8.8.8/', /^url must have its IPv4 address written as 8\.8\.8\.8, got "0x08\.8\.8\.8"$/],
  ['https://134744072/', /written as 8\.8\.8\.8/],
  ['https://８.8.8.8/', /written as 8\.8\.8\.8/],
  ['https://8.8.8.8./', /written as 8\.8\.8\.8/],
  ['https://256.8.8.8/', /must be a URL/],
  ['https://10.0.0.7/', /^url must lead to a public address, got 10\.0\.0\.7$/],
  ['https://[::ffff:8.8.8.8]/', /must lead to a public address/],
  ['https://169.254.169.254/', /must lead to a public address/, development],
  ['https://localhost/', /^url must lead to a public host, got localhost$/],
  ['https://receiver/', /must lead to a public host/],
  ['https://db.internal/', /must lead to a public host/],
  ['https://metadata.google.internal/', /must lead to a public host/],
  ['https://metadata.goog/', /must lead to a public host/],
  ['https://printer.local/', /must lead to a public host/],
  ['https://router.home.arpa/', /must lead to a public host/],
  ['https://service.onion/', /must lead to a public host/],
]

describe('the URL of an endpoint', () => {
  for (const [text, href, policy = strictPolicy] of accepted) {
    test(`may be ${text}${policy === strictPolicy ? '' : ` with ${JSON.stringify(policy)}`}`, () => {
      assert.equal(checkUrl(text, policy).href, href)
    })
  }
  for (const [text, message, policy = strictPolicy] of refused) {
    test(`may not be ${JSON.stringify(text.slice(0, 60))}${policy === strictPolicy ? '' : ` with ${JSON.stringify(policy)}`}`, () => {
      assert.throws(() => checkUrl(text, policy), { name: 'QueueError', code: 'request_invalid', message })
    })
  }

  test('is not told again by an error, but for its scheme and host', () => {
    for (const text of [
      'https://user:secret@example.com/',
      'https://user:secret@exam ple.com/',
      'postgres://user:secret@example.com/',
      'https:///user:secret@example.com/',
      'https://example.com:99999/secret',
      'https://example.com/?key=secret#',
      'https://localhost/secret',
    ]) {
      assert.throws(
        () => checkUrl(text, strictPolicy),
        ({ message }: Error) => /^url must/.test(message) && !message.includes('secret'),
      )
    }
  })

  test('leads to a public address or a name with a dot, whatever text it is', () => {
    const piece = fc.constantFrom(
      ...'0123456789abxX.:[]%@/\\?#-_\t １。①ⅰß\u00ad\u200d',
      '127',
      '0x7f',
      'localhost',
      '::ffff:',
      '.com',
      '.internal',
    )
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => `https://${pieces.join('')}`)
    let accepted = 0
    fc.assert(
      fc.property(fc.oneof(text, fc.webUrl({ validSchemes: ['https'] })), (text) => {
        const checked = attemptToCheck(text)
        if (checked === undefined) return
        accepted++
        const { host, isAddress, authority } = checked
        if (isAddress) assert.equal(kindOfAddress(host), 'global')
        else assert.match(host, /^[a-z\d_-]+(\.[a-z\d_-]+)*\.[a-z\d_-]*[a-z_-][a-z\d_-]*$/)
        assert.equal(new URL(checked.href).host, authority)
        assert.deepEqual(checkUrl(checked.href, strictPolicy), checked)
      }),
      { numRuns: 20_000 },
    )
    assert.ok(accepted > 100, `${accepted} were accepted`)
  })

  test('says where to connect, and in whose name', () => {
    assert.deepEqual(checkUrl('https://[2606:4700::1111]:8443/a?b', strictPolicy), {
      href: 'https://[2606:4700::1111]:8443/a?b',
      isSecure: true,
      host: '2606:4700::1111',
      isAddress: true,
      port: 8443,
      authority: '[2606:4700::1111]:8443',
      path: '/a?b',
    })
  })
})

/** Undefined if it is refused, which may only be in our own words. */
function attemptToCheck(text: string): CheckedUrl | undefined {
  try {
    return checkUrl(text, strictPolicy)
  } catch (error) {
    assert.equal((error as Error).name, 'QueueError', `${error}`)
    return undefined
  }
}
