/* What a library for IP addresses says of one, to compare with. */
import ipaddr from 'ipaddr.js'

/** "unicast" for what it knows nothing special of. Undefined: no address. */
export function rangeOf(address: string): string | undefined {
  return ipaddr.isValid(address) ? ipaddr.parse(address).range() : undefined
}
