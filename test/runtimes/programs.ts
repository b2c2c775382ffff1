/* The main modules of README.md, as the tests run them: over the sources, and saying where they listen. */
const entry = (name: string) => JSON.stringify(new URL(`../../functions/${name}.ts`, import.meta.url).href)

/** @param start what starts it, instead */
export const ownServer = (name: 'bun' | 'deno', start = 'startServer()') => `
  import { startServer } from ${entry(name)}
  const { url } = await ${start}
  console.log(JSON.stringify({ url }))`

export const denoProgram = ownServer('deno')
export const bunProgram = ownServer('bun')

/** On Supabase the platform says where Deno.serve listens. */
export const supabaseProgram = `
  import postbag from ${entry('supabase')}
  const onListen = ({ port }) => console.log(JSON.stringify({ url: \`http://127.0.0.1:\${port}/postbag\` }))
  Deno.serve({ hostname: '127.0.0.1', port: 0, onListen }, postbag.fetch)`
