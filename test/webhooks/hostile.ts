/* What a hostile receiver is in these tests: what it does with a connection, and what an attempt must make of it. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { type Answered, type AttemptError, errorOf, type Outcome } from '../../src/webhooks/outcome.ts'
import type { Receiver } from './receiver.ts'

export interface HostileCase {
  readonly name: string
  readonly behave: (socket: Socket, number: number) => void
  readonly timeoutMillis: number
  readonly isSecure?: boolean
  readonly body?: string
  /** What must come of it. */
  readonly expect: (outcome: Outcome, receiver: Receiver) => void
  /** What a fetch can tell, where that is less; and in which time, where workerd waits to the end of it. */
  readonly expectOfFetch?: (outcome: Outcome, receiver: Receiver) => void
  readonly fetchMillis?: number
}

/** The time that an attempt may take, in milliseconds, where its end is what is tested. */
export const short = 60
/** Long enough for the head of an answer to come on a busy machine. */
export const middle = 1500
/** Longer than any test takes, so that only an attempt that hangs notices. */
export const long = 30_000

/** What may be written to an attempt that reads no more: as much as fits into the buffers of both systems. */
export const buffers = 16 * 1_048_576

export function failed(error: AttemptError): (outcome: Outcome) => void {
  return (outcome) => assert.equal(errorOf(outcome), error, JSON.stringify(outcome))
}

export function answered(expected: Partial<Answered>): (outcome: Outcome) => void {
  return (outcome) => {
    assert.equal(outcome.kind, 'answered', JSON.stringify(outcome))
    for (const [name, value] of Object.entries(expected)) {
      assert.deepEqual(outcome[name as keyof Outcome], value, `${name} of ${JSON.stringify(outcome).slice(0, 500)}`)
    }
  }
}

/** How an answer begins. */
export const head = 'HTTP/1.1 200 OK\r\n'
