/* Loads AWS's own runtime client for Node (aws-lambda-ric) with the three functions of its native part written here, so that nothing is built:
 * node --import ./lambda-runtime.ts …/aws-lambda-ric/index.mjs. The rest of it, streaming included, talks to the Runtime API by itself.
 * https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html */
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, next) {
    if (!specifier.endsWith('rapid-client.node')) return next(specifier, context)
    return { url: import.meta.url.replace('lambda-runtime', 'lambda-rapid-client'), shortCircuit: true }
  },
})
