/* Lets the examples import 'postbag' and the libraries of databases as your program would, while they run from this clone: the libraries are
 * those of the tests (node test/support/runtimes.ts installs them). */
import { registerHooks } from 'node:module'

const sources: Readonly<Record<string, string>> = {
  postbag: '../src/index.ts',
  'postbag/client': '../src/client/index.ts',
  'postbag/node': '../functions/node.ts',
  'postbag/local': '../functions/local.ts',
  'postbag/endpoints': '../src/client/endpoints.ts',
  'postbag/sqs-handler': '../src/client/sqs-handler.ts',
  'postbag/webhooks': '../src/webhooks/signing/index.ts',
}

const libraries = /^(drizzle-orm|knex|postgres|typeorm|@mikro-orm|@prisma)(\/|$)/
const ofTests = new URL('../test/runtimes/package.json', import.meta.url).href

registerHooks({
  resolve(specifier, context, next) {
    const source = sources[specifier]
    if (libraries.test(specifier))
      return next(specifier, {
        ...context,
        parentURL: context.parentURL?.includes('/node_modules/') ? context.parentURL : ofTests,
      })
    return source ? { url: new URL(source, import.meta.url).href, shortCircuit: true } : next(specifier, context)
  },
})
