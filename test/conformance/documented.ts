/* Whether /openapi.json tells of an answer. That every runtime serves the same document is a case of its own (service.ts). */
import assert from 'node:assert/strict'
import { createApp } from '../../src/app.ts'

const { paths = {} } = createApp({ access: { kind: 'open' } }).getOpenAPI31Document({
  openapi: '3.1.0',
  info: { title: 'Postbag', version: '1' },
})

const known = Object.entries(paths).map(([template, item]) => ({
  template,
  pattern: new RegExp(`^${template.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
  operations: item as Readonly<Record<string, { readonly responses?: object }>>,
}))

/** What there is answers with a status that the document lists; what there is not is no business of the document.
 * @param path with or without a query */
export function assertDocumented(method: string, path: string, status: number): void {
  const [bare = ''] = path.split('?')
  const found = known.find(({ pattern }) => pattern.test(bare))
  const responses = found?.operations[method.toLowerCase()]?.responses
  if (!responses) return
  const listed = Object.keys(responses)
  const isListed = listed.includes(String(status)) || (status >= 400 && listed.includes('default'))
  assert.ok(
    isListed,
    `${method} ${found?.template} answers with ${status}, and /openapi.json lists ${listed.join(', ')}`,
  )
}
