/* /v1/import: exchanges, queues, policies and bindings at once. */
import type { Access } from '../config.ts'
import { importDefinitions } from '../exchange/import-definitions.ts'
import type { ImportRequest as WireImport } from '../wire.ts'
import { type Door, endpoint } from './door.ts'
import { ImportRequest, ImportResponse } from './import-schemas.ts'

export function mountImportRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/import',
      operationId: 'importDefinitions',
      summary:
        'Exchanges, queues, policies and bindings, all or none. What is there just so stays, what is not refuses it.',
      needs: 'admin',
      body: ImportRequest,
      answer: ImportResponse,
    },
    async ({ body, executor, context }) => context.json(await importDefinitions(executor, body as WireImport)),
  )
}
