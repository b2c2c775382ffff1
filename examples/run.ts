/* npm run example <name>: run an example from this clone. */
import { existsSync } from 'node:fs'
import './from-source.ts'

const name = process.argv[2]?.replace(/\.ts$/, '')
// What is left are the example's own arguments, as if it had been started itself.
process.argv.splice(2, 1)
const file = new URL(`./${name}.ts`, import.meta.url)
if (!name || !existsSync(file)) {
  console.error(`${name ? `There is no example ${name}.` : 'Which one?'} examples/README.md lists them all.`)
  process.exit(2)
}
await import(file.href)
