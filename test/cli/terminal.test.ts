/* What is written for a person at a terminal, and what for machines where there is none: progress, and the request log. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, mock, test } from 'node:test'
import { rate, showProgress } from '../../src/cli/progress.ts'
import { requestLog } from '../../src/cli/request-log.ts'

function output(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY }) as unknown as NodeJS.WriteStream
  return { stream, shown: () => String((stream as unknown as PassThrough).read() ?? '') }
}

describe('progress', () => {
  test('is a line that is written over, and removed at the end', () => {
    const { stream, shown } = output(true)
    const progress = showProgress('message', stream)

    progress.update(1000)
    progress.note('the server is away: trying again…')
    progress.clear()

    const [line, ...rest] = shown().split('\r\u001b[K')
    assert.match(line ?? '', /^1,000 messages, [\d,]+\/s$/)
    assert.deepEqual(rest, ['the server is away: trying again…\n'])
  })

  test('is shown from the first update on, however young the process is', () => {
    const { stream, shown } = output(true)
    const now = mock.method(performance, 'now', () => 5)

    showProgress('message', stream).update(1)
    now.mock.restore()

    assert.equal(shown(), '1 message, 1,000/s')
  })

  test('is not shown for every batch', () => {
    const { stream, shown } = output(true)
    const progress = showProgress('message', stream)

    for (let count = 1; count <= 100; count++) progress.update(count)

    assert.ok(shown().split('/s').length < 10)
  })

  test('is not shown where there is no terminal, but what is noted is', () => {
    const { stream, shown } = output(false)
    const progress = showProgress('message', stream)

    progress.update(1000)
    progress.note('trying again…')
    progress.clear()

    assert.equal(shown(), 'trying again…\n')
  })

  test('tells a rate', () => {
    assert.equal(rate(12_345, 1000), '12,345/s')
    assert.equal(rate(0, 0), '0/s')
  })
})

describe('the request log', () => {
  const good = { time: '2026-01-02T03:04:05.678Z', level: 'info', method: 'GET', path: '/x', status: 200, millis: 3 }
  const bad = { ...good, level: 'error', status: 503, error: 'database_unavailable' }

  test('is a line of JSON per request where there is no terminal', () => {
    const { stream, shown } = output(false)
    const log = requestLog(stream, false)

    log(good)
    log(bad)

    assert.equal(shown(), `${JSON.stringify(good)}\n${JSON.stringify(bad)}\n`)
  })

  test('shows only failures to a person, or everything with --verbose', () => {
    const { stream, shown } = output(true)

    requestLog(stream, false)(good)
    requestLog(stream, false)(bad)
    requestLog(stream, true)(good)

    const clock = new Date(good.time).toLocaleTimeString('sv')
    assert.equal(shown(), `${clock}  503  GET /x  3 ms  database_unavailable\n${clock}  200  GET /x  3 ms\n`)
  })
})
