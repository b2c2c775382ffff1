/* What the client needs from the world. All of it may be replaced: in tests by a clock that is moved by hand, elsewhere by another way to
 * reach the server. */

/** Options as they may be given: one that is undefined is one that is not given. */
export type Given<Options> = { readonly [Name in keyof Options]?: Options[Name] | undefined }

/** Without what is undefined, which would hide a value that it is spread over. */
export function defined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

export interface Effects {
  /** Sends the requests. Defaults to the global fetch; another one may go through a Worker's service binding, a proxy or a tracer. Must
   * honour `init.signal`: otherwise aborting waits for the answer. */
  readonly fetch: (url: string, init: RequestInit) => Promise<Response> | Response
  /** Resolves after the time, in milliseconds; rejects with the signal's reason if that aborts first. */
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>
  /** At least 0, below 1; never the same twice, as dedup ids are made of it. Defaults to the platform's cryptographic one. */
  readonly random: () => number
  /** Milliseconds since some fixed time. Defaults to Date.now, because that goes on while a frozen process stands still. */
  readonly now: () => number
}

export const platform: Effects = {
  // Looked up at the call, so that a polyfill or a tracer may come later; called bare, because it refuses a `this`.
  fetch: (url, init) => fetch(url, init),
  sleep: (milliseconds, signal) =>
    new Promise((resolve, reject) => {
      const abort = () => {
        clearTimeout(timer)
        reject(signal.reason)
      }
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', abort)
        resolve()
      }, milliseconds)
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort, { once: true })
    }),
  random: () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32,
  now: () => Date.now(),
}
