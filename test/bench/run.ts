/* npm run bench: figures as tables, and in bench.json. Own Postgres on disk with default durability. Contenders run in turn, three rounds,
 * medians; what counts is the ratio within one run, because machines are noisy.
 *
 *   npm run bench                       all scenarios, about twenty minutes
 *   npm run bench -- sql-cycle wal      only these (the files of scenarios/)
 *   npm run bench -- --quick            shorter rounds and fewer messages, rougher figures */
import { globSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbedded } from '../../src/db/embedded.ts'
import { scratchFolder } from '../support/server.ts'
import { Bench, type Scenario } from './bench.ts'
import { circumstances, figuresTable, verdictsTable } from './report.ts'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
})
const names = globSync('scenarios/*.ts', { cwd: import.meta.dirname })
  .map((file) => basename(file, '.ts'))
  .sort()
const unknown = positionals.filter((name) => !names.includes(name))
if (unknown.length > 0) {
  console.error(`There is no scenario ${unknown.join(', ')}. There are: ${names.join(', ')}.`)
  process.exit(2)
}
const length = options.quick ? 'quick' : 'full'
const started = performance.now()
const folder = await scratchFolder()
const server = await startEmbedded({ dataDir: folder, settings: { max_connections: '200' } })
const clean = async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => clean().finally(() => process.exit(130)))
}
try {
  await main()
} finally {
  await clean()
}

async function main(): Promise<void> {
  const bench = new Bench(server.url, length, (step) => {
    console.error(`${String(Math.round((performance.now() - started) / 1000)).padStart(5)} s  ${step}`)
  })
  for (const name of positionals.length > 0 ? positionals : names) {
    const scenario: Scenario = await import(`./scenarios/${name}.ts`)
    await bench.run(name, scenario)
    console.log(`\n## ${scenario.title}\n\n${scenario.measures}\n`)
    console.log(figuresTable(bench.figures.filter((figure) => figure.scenario === name)))
  }
  if (bench.verdicts.length > 0) console.log(`\n## What must hold\n\n${verdictsTable(bench.verdicts)}`)

  const { rows } = await bench.asAdmin('show server_version')
  const report = { ...circumstances(rows[0].server_version, length), verdicts: bench.verdicts, figures: bench.figures }
  await writeFile('bench.json', `${JSON.stringify(report, null, 2)}\n`)
  console.log(`\nWritten to bench.json, after ${Math.round((performance.now() - started) / 60_000)} min.`)
  await bench.end()
}
