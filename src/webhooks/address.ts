/* Which addresses may be called. Pure, and an allowlist: an address is global only if it lies in the space that is given out to the public
 * (IPv4 1.0.0.0 – 223.255.255.255, IPv6 2000::/3), less what the registries set apart for a purpose
 * (iana.org/assignments/iana-ipv4-special-registry and -ipv6-) and what clouds answer on. Everything unknown is refused; so is every IPv6
 * form that carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP), whatever that is.
 *
 * Own code, since it must run in Workers (where node:net has no BlockList), and since libraries list what is special and call the rest
 * unicast. The tests hold it against two of them, net.BlockList and ipaddr.js. */

/** `private`: a neighbour on the same machine or network, for policies that allow it. `refused`: for nobody. */
export type AddressKind = 'global' | 'private' | 'refused'

/** A block of addresses, as its 4 or 8 numbers, and how many bits of them count. */
interface Block {
  readonly start: readonly number[]
  readonly bits: number
}

const refused = blocks([
  '169.254.0.0/16', // link-local; the metadata of most clouds
  '168.63.129.16/32', // Azure's own services, on an address that looks public
  '100.100.100.200/32', // the metadata of Alibaba's cloud
  '192.0.0.0/24', // IETF protocols; the metadata of Oracle's cloud
  '192.0.2.0/24', // documentation
  '192.31.196.0/24', // AS112
  '192.52.193.0/24', // AMT
  '192.88.99.0/24', // relays of 6to4
  '192.175.48.0/24', // AS112
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '2001::/23', // IETF protocols: Teredo, ORCHID, benchmarks …
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '2620:4f:8000::/48', // AS112
  '3ffe::/16', // the 6bone, given back
  '3fff::/20', // documentation
  'fd00:ec2::/32', // the metadata of Amazon's cloud
  'fd20:ce::/32', // the metadata of Google's cloud
])

const neighbours = blocks([
  '10.0.0.0/8',
  '100.64.0.0/10', // behind a carrier's NAT
  '127.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '::1/128',
  'fc00::/7', // unique local
])

/** @param address in the usual notation, as a resolver or a parsed URL has it (without brackets). What is no address, or has a
 *   zone, is refused. */
export function kindOfAddress(address: string): AddressKind {
  const parts = parse4(address) ?? parse6(address)
  if (!parts || isIn(refused, parts) || isIsatap(parts)) return 'refused'
  if (isIn(neighbours, parts)) return 'private'
  const first = parts[0] ?? 0
  return (parts.length === 4 ? first >= 1 && first <= 223 : first >> 13 === 0b001) ? 'global' : 'refused'
}

/** An IPv6 interface that carries an IPv4 address (RFC 5214). */
function isIsatap(parts: readonly number[]): boolean {
  return parts[5] === 0x5efe && ((parts[4] ?? 0) & 0xfdff) === 0
}

function isIn(list: readonly Block[], parts: readonly number[]): boolean {
  const width = parts.length === 4 ? 8 : 16
  return list.some(({ start, bits }) => {
    const isSame = (part: number, at: number) => {
      const counting = Math.min(Math.max(bits - at * width, 0), width)
      return (part ^ (parts[at] ?? 0)) >> (width - counting) === 0
    }
    return start.length === parts.length && start.every(isSame)
  })
}

function blocks(texts: readonly string[]): readonly Block[] {
  return texts.map((text) => {
    const [address = '', bits] = text.split('/')
    return { start: parse4(address) ?? parse6(address) ?? [], bits: Number(bits) }
  })
}

function parse4(address: string): readonly number[] | undefined {
  if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(address)) return undefined
  const parts = address.split('.').map(Number)
  return parts.every((part) => part <= 255) && parts.join('.') === address ? parts : undefined
}

/** The platform's URL parser knows all the ways to write an IPv6 address, and none with a zone. */
function parse6(address: string): readonly number[] | undefined {
  const url = `http://[${address}]/`
  if (!/^[\da-f:.]+$/i.test(address) || !URL.canParse(url)) return undefined
  const [head = '', tail = ''] = new URL(url).hostname.slice(1, -1).split('::')
  const numbers = (text: string) => (text === '' ? [] : text.split(':').map((part) => Number.parseInt(part, 16)))
  const [before, after] = [numbers(head), numbers(tail)]
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}
