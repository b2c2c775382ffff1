/* Lets the examples import 'postbag' and the libraries of databases as your program would, while they run from this clone: the libraries are
 * those of the tests (node test/support/runtimes.ts installs them). */
import { registerHooks } from 'node:module'
import manifest from '../package.json' with { type: 'json' }

/** By name of an entry: where its source is. What is published is built of it, under dist/. */
const sources = new Map(
  Object.entries<string>(manifest.exports)
    .filter(([, built]) => built.startsWith('./dist/'))
    .map(([path, built]) => [path.replace('.', 'postbag'), built.replace('./dist/', '../').replace(/js$/, 'ts')]),
)

const libraries = /^(drizzle-orm|knex|postgres|typeorm|@mikro-orm|@prisma)(\/|$)/
const ofTests = new URL('../test/runtimes/package.json', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const source = sources.get(specifier)
    if (libraries.test(specifier))
      return next(specifier, {
        ...context,
        parentURL: context.parentURL?.includes('/node_modules/') ? context.parentURL : ofTests,
      })
    return source ? { url: new URL(source, import.meta.url).href, shortCircuit: true } : next(specifier, context)
  },
})
