/* Lets the examples import 'postbag' as your program would, while they run from this clone. */
import { registerHooks } from 'node:module'

const sources: Readonly<Record<string, string>> = {
  postbag: '../src/index.ts',
  'postbag/client': '../src/client/index.ts',
  'postbag/node': '../functions/node.ts',
  'postbag/sqs-handler': '../src/client/sqs-handler.ts',
}

registerHooks({
  resolve(specifier, context, next) {
    const source = sources[specifier]
    return source ? { url: new URL(source, import.meta.url).href, shortCircuit: true } : next(specifier, context)
  },
})
