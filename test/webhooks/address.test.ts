/* Which addresses are public: by example, and compared with what others know. */
import assert from 'node:assert/strict'
import { BlockList, SocketAddress } from 'node:net'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { kindOfAddress } from '../../src/webhooks/address.ts'
import { rangeOf } from '../runtimes/ip-library.ts'

const global = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '168.63.129.15',
  '169.253.255.255',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2000::',
  '2001:200::1',
  '2001:4860:4860::8888',
  '2606:4700:4700::1111',
  '2a00:1450:4001:830::200e',
  '3ffd:ffff::',
]
const neighbours = [
  '10.0.0.0',
  '10.255.255.255',
  '100.64.0.0',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.255',
  '172.16.0.0',
  '172.31.255.255',
  '192.168.0.0',
  '192.168.255.255',
  '::1',
  'fc00::',
  'fdff:ffff::1',
]
const refused = {
  'this network': ['0.0.0.0', '0.255.255.255', '::'],
  'link-local': ['169.254.0.0', '169.254.169.254', '169.254.170.2', '169.254.255.255', 'fe80::1', 'febf::1'],
  'metadata elsewhere': ['168.63.129.16', '100.100.100.200', '192.0.0.192', 'fd00:ec2::254', 'fd20:ce::254'],
  'documentation and benchmarks': [
    '192.0.2.1',
    '198.51.100.7',
    '203.0.113.9',
    '198.18.0.0',
    '198.19.255.255',
    '2001:db8::1',
    '3fff::1',
    '2001:2::1',
  ],
  'multicast, reserved, broadcast': [
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    'ff02::1',
    'ff0e::1',
  ],
  'site-local, discard, segment routing': ['fec0::1', '100::1', '5f00::1'],
  'an IPv4 address in IPv6': [
    '::ffff:8.8.8.8',
    '::ffff:808:808',
    '::8.8.8.8',
    '::ffff:0:8.8.8.8',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::8.8.8.8',
    '2002:808:808::1',
    '2001:0:4136:e378:8000:63bf:3fff:fdd2',
    '2a00:1450::5efe:a00:1',
    '2a00:1450::200:5efe:a00:1',
  ],
  'relays and servers of the net': ['192.88.99.1', '192.31.196.1', '192.175.48.1', '192.52.193.1', '2620:4f:8000::1'],
  'given to nobody': ['4000::1', '8000::1', 'e000::1', '3ffe::1'],
  'no address': [
    '',
    'localhost',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.-4',
    '8.8.8.8 ',
    ' 8.8.8.8',
    '0x8.8.8.8',
    '134744072',
    '8.8.8.8.',
    '٨.8.8.8',
    '1e1.8.8.8',
  ],
  'no address of IPv6': [
    '2606::1::1',
    '2606:',
    '[2606::1]',
    '2606::1%eth0',
    '2606::1%25eth0',
    '2606::1/64',
    '2606::g',
    ':::',
    '2606::1]/[',
    '1:2:3:4:5:6:7:8:9',
  ],
}

describe('an address', () => {
  for (const address of global) test(`${address} is public`, () => assert.equal(kindOfAddress(address), 'global'))
  for (const address of neighbours) test(`${address} is private`, () => assert.equal(kindOfAddress(address), 'private'))
  for (const [what, addresses] of Object.entries(refused)) {
    test(`that is ${what} is refused`, () => {
      assert.deepEqual(
        addresses.filter((address) => kindOfAddress(address) !== 'refused'),
        [],
      )
    })
  }
})

/** The same rules as node:net reads them. */
const given = new BlockList()
given.addRange('1.0.0.0', '223.255.255.255', 'ipv4')
given.addSubnet('2000::', 3, 'ipv6')
const special = new BlockList()
for (const [start, bits] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
] as const) {
  special.addSubnet(start, bits, 'ipv4')
}
for (const [start, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3ffe::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(start, bits, 'ipv6')
}

/** Near the edges of what is special, and anywhere. */
const anyIpv4 = fc.oneof(
  fc.ipV4(),
  fc
    .tuple(
      fc.constantFrom(0, 1, 9, 10, 11, 100, 126, 127, 128, 168, 169, 172, 192, 198, 203, 223, 224, 255),
      fc.nat(255),
      fc.nat(255),
      fc.nat(255),
    )
    .map((parts) => parts.join('.')),
)
const anyIpv6 = fc.oneof(
  fc.ipV6().filter((address) => !address.includes('.')),
  fc
    .tuple(
      fc.constantFrom(
        '0',
        '64',
        '100',
        '2000',
        '2001',
        '2002',
        '2620',
        '3ffe',
        '3fff',
        '4000',
        '5f00',
        'fc00',
        'fd00',
        'fe80',
        'fec0',
        'ff02',
      ),
      fc.constantFrom('0', '1', '2', '1ff', '200', '4f', 'db8', 'ec2', 'ff9b', 'fff', '1000', 'ffff'),
      fc.constantFrom('0', '8000', '1'),
      fc.nat(65_535).map((part) => part.toString(16)),
    )
    .map((parts) => `${parts.join(':')}::1`),
)

describe('any address', () => {
  test('of IPv4 is public exactly if node:net finds it so by the same rules', () => {
    fc.assert(
      fc.property(anyIpv4, (address) => {
        const isGlobal = given.check(address, 'ipv4') && !special.check(address, 'ipv4')
        assert.equal(kindOfAddress(address) === 'global', isGlobal)
      }),
      { numRuns: 3000 },
    )
  })

  test('of IPv6 is public exactly if node:net finds it so by the same rules', () => {
    fc.assert(
      fc.property(anyIpv6, (address) => {
        const isGlobal = given.check(address, 'ipv6') && !special.check(address, 'ipv6')
        const written = new SocketAddress({ address, family: 'ipv6' }).address
        const isIsatap = /:(0|2)?0{0,3}:5efe:/i.test(written)
        // (What node:net judges as the IPv4 address in it, we refuse whatever that is.)
        const isMapped = /^::ffff:[\d.]+$/i.test(written)
        assert.equal(kindOfAddress(address) === 'global', isGlobal && !isIsatap && !isMapped)
      }),
      { numRuns: 3000, examples: [['::ffff:100:0'], ['::ffff:8.8.8.8']] },
    )
  })

  test('that ipaddr.js knows to be special is not public', () => {
    fc.assert(
      fc.property(fc.oneof(anyIpv4, anyIpv6), (address) => {
        if (kindOfAddress(address) === 'global') assert.equal(rangeOf(address), 'unicast', address)
      }),
      { numRuns: 5000 },
    )
  })

  test('is refused or judged, whatever text it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdefx:.%[]/') })), (text) => {
        if (kindOfAddress(text) !== 'refused') assert.notEqual(rangeOf(text), undefined, JSON.stringify(text))
      }),
      { numRuns: 5000 },
    )
  })
})
