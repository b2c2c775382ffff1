/* The benchmark runs: every scenario in a tiny setting, so that the instrument does not rot. What it measures then means nothing. */
import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { basename } from 'node:path'
import { after, describe, test } from 'node:test'
import { Bench, type Scenario } from './bench/bench.ts'
import { flatLine } from './bench/chart.ts'
import { latencies, medianRatio } from './bench/measure.ts'
import { figuresTable, verdictsTable } from './bench/report.ts'

const names = globSync('bench/scenarios/*.ts', { cwd: import.meta.dirname }).map((file) => basename(file, '.ts'))

describe('every scenario', () => {
  const bench = new Bench(process.env['POSTBAG_TEST_SERVER'] ?? '', 'tiny', () => {})
  after(() => bench.end())

  for (const name of names) {
    test(`${name} brings figures`, async () => {
      const scenario: Scenario = await import(`./bench/scenarios/${name}.ts`)

      await bench.run(name, scenario)

      const figures = bench.figures.filter((figure) => figure.scenario === name)
      assert.notEqual(figures.length, 0)
      for (const { values } of figures) assert.ok(values.every((value) => value >= 0))
    })
  }
})

describe('what is made of measurements', () => {
  test('a ratio is the median of the ratios within each round', () => {
    assert.equal(medianRatio([10, 40, 90], [10, 20, 30]), 2)
  })

  test('latencies of nothing are 0', () => {
    assert.deepEqual(latencies([]), { p50: 0, p99: 0 })
    assert.deepEqual(latencies([3, 1, 2]), { p50: 2, p99: 3 })
  })

  test('tables are Markdown, with every part named once', () => {
    const figure = { scenario: 'a', part: 'batch 1', contender: 'one', unit: 'msg/s', values: [1, 2, 3] }
    const verdict = { what: 'this', relation: 'at least', target: 2, measured: 1.5, held: false } as const

    assert.equal(
      figuresTable([figure, { ...figure, contender: 'two', ratio: 1 }]),
      [
        '|         | contender | median | range | unit  | × first |',
        '| ------- | --------- | ------ | ----- | ----- | ------- |',
        '| batch 1 | one       | 2      | 1 – 3 | msg/s |         |',
        '| …       | two       | 2      | 1 – 3 | msg/s | 1.00    |',
      ].join('\n'),
    )
    assert.match(verdictsTable([verdict]), /\| this +\| at least 2 \| 1\.50 +\| no/)
  })

  test('the chart has a line per contender, and none leaves it', () => {
    const svg = flatLine([
      { name: 'one', perSecond: new Array(65).fill(1000) },
      { name: 'two', perSecond: [0, 2500, ...new Array(63).fill(10)] },
    ])

    const lines = [...svg.matchAll(/points="([^"]+)"/g)].map(([, points = '']) => points.split(' '))
    assert.equal(lines.length, 2)
    for (const [x, y] of lines.flat().map((point) => point.split(',').map(Number))) {
      assert.ok(x !== undefined && x > 0 && x < 720)
      assert.ok(y !== undefined && y > 0 && y < 300)
    }
  })
})
