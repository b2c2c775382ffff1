/* Reading the values of options. Pure; what is wrong is said by commander, with the name of the option, and ends as wrong usage. */
import { InvalidArgumentError } from 'commander'

const unitSeconds = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 } as const

/** "30", "30s", "500ms", "5m", "12h" or "30d", in seconds. Its range is checked by who gets it. */
export function duration(text: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? []
  if (number === undefined) throw new InvalidArgumentError('It must be a time such as 30, 30s, 500ms, 5m, 12h or 30d.')
  return Number(number) * unitSeconds[unit as keyof typeof unitSeconds]
}

/** "2026-12-24T08:00Z" and other times of ISO 8601, in UTC; those without a zone are of this machine's. (Date takes February 31 for March 3.) */
export function instant(text: string): string {
  const [, date] = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d/.exec(text) ?? []
  const time = date !== undefined && isDate(date) ? new Date(text) : undefined
  if (time === undefined || Number.isNaN(time.getTime())) {
    throw new InvalidArgumentError('It must be a time such as 2026-12-24T08:00Z, or 2026-12-24T08:00 in local time.')
  }
  return time.toISOString()
}

function isDate(text: string): boolean {
  const midnight = new Date(`${text}T00:00Z`)
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(text)
}

/** "10", "10/s", "600/m", "5000/h" or "10000/d", as so many in a second. */
export function rate(text: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(?:\/(s|m|h|d))?$/.exec(text) ?? []
  if (number === undefined) throw new InvalidArgumentError('It must be a rate such as 10, 10/s, 600/m or 5000/h.')
  return Number(number) / unitSeconds[unit as keyof typeof unitSeconds]
}

const unitBytes = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const

/** "500", "64KiB", "10MiB", "2GiB" or "1TiB", in bytes. */
export function bytes(text: string): number {
  const [, number, unit] = /^(\d{1,16})(KiB|MiB|GiB|TiB)?$/.exec(text) ?? []
  if (number === undefined) throw new InvalidArgumentError('It must be a size such as 500, 64KiB, 10MiB, 2GiB or 1TiB.')
  return Number(number) * (unit === undefined ? 1 : unitBytes[unit as keyof typeof unitBytes])
}

export function fraction(text: string): number {
  if (!/^\d(\.\d+)?$/.test(text)) throw new InvalidArgumentError('It must be a number such as 0.5.')
  return Number(text)
}

/** Reads one of the values, and nothing else. */
export function oneOf<Value extends string>(values: readonly Value[]): (text: string) => Value {
  return (text) => {
    const found = values.find((value) => value === text)
    if (found === undefined) throw new InvalidArgumentError(`It must be one of ${values.join(', ')}.`)
    return found
  }
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

export function portNumber(text: string): number {
  const port = wholeNumber(text)
  if (port > 65_535) throw new InvalidArgumentError('It must be between 0 and 65535.')
  return port
}

/** "name=value", added to those before it. */
export function header(text: string, before: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const split = text.indexOf('=')
  if (split < 1) throw new InvalidArgumentError('It must be a name and a value, such as --header tenant=acme.')
  return { ...before, [text.slice(0, split)]: text.slice(split + 1) }
}

/** One of several: added to those before it. */
export function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

/** Empty counts as not given, as in every environment variable of ours. */
export function httpUrl(text: string): string {
  if (text !== '' && !/^https?:$/.test(URL.parse(text)?.protocol ?? '')) {
    throw new InvalidArgumentError('It must be an address such as http://127.0.0.1:8787.')
  }
  return text
}
