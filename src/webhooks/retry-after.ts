/* What Retry-After asks for (RFC 9110, 10.2.3): seconds, or a date in any of the three forms of HTTP. Pure. */
import { maxRetryAfterSeconds } from '../limits.ts'

const months = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec'
const forms = [
  /** Sun, 06 Nov 1994 08:49:37 GMT */
  new RegExp(`^[A-Z][a-z]{2}, (?<day>\\d\\d) (?<month>${months}) (?<year>\\d{4}) (?<time>\\d\\d:\\d\\d:\\d\\d) GMT$`),
  /** Sunday, 06-Nov-94 08:49:37 GMT */
  new RegExp(`^[A-Z][a-z]{5,8}, (?<day>\\d\\d)-(?<month>${months})-(?<year>\\d\\d) (?<time>\\d\\d:\\d\\d:\\d\\d) GMT$`),
  /** Sun Nov  6 08:49:37 1994 */
  new RegExp(`^[A-Z][a-z]{2} (?<month>${months}) (?<day>[ \\d]\\d) (?<time>\\d\\d:\\d\\d:\\d\\d) (?<year>\\d{4})$`),
]

/** Seconds from now, 0 – 86,400 (a longer wait is cut to that); undefined if it says nothing that can be understood. */
export function retryAfterSeconds(value: string | undefined, now: Date): number | undefined {
  const text = value?.trim() ?? ''
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text), maxRetryAfterSeconds)
  const time = httpDate(text, now)
  if (time === undefined) return undefined
  return Math.min(Math.max(Math.ceil((time - now.getTime()) / 1000), 0), maxRetryAfterSeconds)
}

function httpDate(text: string, now: Date): number | undefined {
  const parts = forms.map((form) => form.exec(text)?.groups).find((groups) => groups !== undefined)
  if (!parts) return undefined
  const { day = '', month = '', year = '', time = '' } = parts
  const millis = Date.parse(`${day.trim().padStart(2, '0')} ${month} ${fullYear(year, now)} ${time} GMT`)
  return Number.isNaN(millis) ? undefined : millis
}

/** One of two digits that seems more than 50 years ahead is the last one that ended so. */
function fullYear(year: string, now: Date): number {
  if (year.length === 4) return Number(year)
  const thisYear = now.getUTCFullYear()
  const inThisCentury = thisYear - (thisYear % 100) + Number(year)
  return inThisCentury > thisYear + 50 ? inThisCentury - 100 : inThisCentury
}
