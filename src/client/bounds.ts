/* Numbers that must be within bounds, where the server does not see them. */
import { QueueError } from '../errors.ts'

/** @throws QueueError `request_invalid` */
export function mustBeBetween(name: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return
  throw new QueueError('request_invalid', `${name} must be between ${least} and ${most}, got ${value}`)
}
