/* Postbag as a Supabase Edge Function: Deno, where the platform listens, under the function's name. Its index.ts is two lines (README.md):
 *
 *   import postbag from 'npm:postbag/supabase'
 *   Deno.serve(postbag.fetch)
 *
 * An isolate lives for 150 to 400 s and serves many requests, so it is a process like others, only a small one: the database gives each
 * project few connections. It listens on a connection of its own (LISTEN) if its address has sessions, else those who wait look now and
 * then; which of them, is tried (wakeup/listener.ts). It would end while it delivers webhooks, so it is kept until that is done
 * (waitUntil); and it delivers when it was asked to: after a publish, and by POST /v1/deliver. */
import { errorForLog, notConfigured } from '../src/app.ts'
import { supabaseConfig } from '../src/config.ts'
import { createProcess, type Process } from '../src/process.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

/** Of Deno's own API, what is used here; and of the platform's. */
declare const Deno: { readonly env: { toObject(): Record<string, string> } }
declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void } | undefined

/** Made by the first request, when the environment is known. */
let live: Process | undefined

function start(): Process {
  const made = createProcess({
    ...supabaseConfig(Deno.env.toObject()),
    attempt: createTransport().attempt,
    // (Where it is run with Deno alone, nothing ends it.)
    keepAwake: (work) => typeof EdgeRuntime === 'undefined' || EdgeRuntime.waitUntil(work),
  })
  // The isolate is about to end.
  addEventListener('beforeunload', () => void made.stop())
  return made
}

export default {
  fetch(request: Request): Response | Promise<Response> {
    try {
      live ??= start()
    } catch (error) {
      console.error(errorForLog(error))
      return notConfigured(error)
    }
    return live.fetch(request)
  },
}
