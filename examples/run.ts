/* npm run example <name>: run an example from this clone. */
import './from-source.ts'

const name = process.argv[2]
if (!name) {
  console.error('Which one? npm run example hello-world/producer (examples/README.md lists them all)')
  process.exit(2)
}
await import(new URL(`./${name.replace(/\.ts$/, '')}.ts`, import.meta.url).href)
