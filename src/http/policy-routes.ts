/* /v1/policies: settings of all queues whose names match a pattern. */
import type { Access } from '../config.ts'
import { deletePolicy, describePolicy, listPolicies, setPolicy } from '../queue/policies.ts'
import { type Door, endpoint } from './door.ts'
import { PolicyConfig, PolicyDeleted, PolicyInfo, PolicyListResponse } from './policy-schemas.ts'

export function mountPolicyRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/policies/{policy}',
      operationId: 'setPolicy',
      summary: 'Create a policy, or replace all of it: settings of the queues that match, unless they say otherwise.',
      needs: 'admin',
      body: PolicyConfig,
      answer: PolicyInfo,
      creates: true,
    },
    async ({ policy, body, executor, context }) => {
      const { info, created } = await setPolicy(executor, policy, body)
      return context.json(info, created ? 201 : 200)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/policies/{policy}',
      operationId: 'policyInfo',
      summary: 'A policy, and how many queues it matches.',
      needs: 'admin',
      answer: PolicyInfo,
    },
    async ({ policy, executor, context }) => context.json(await describePolicy(executor, policy)),
  )
  endpoint(
    door,
    access,
    {
      method: 'delete',
      path: '/v1/policies/{policy}',
      operationId: 'deletePolicy',
      summary: 'Delete a policy: its queues have what other policies or the defaults say.',
      needs: 'admin',
      answer: PolicyDeleted,
    },
    async ({ policy, executor, context }) => context.json({ matchingQueues: await deletePolicy(executor, policy) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/policies',
      operationId: 'policies',
      summary: 'All policies, the most specific first.',
      needs: 'admin',
      answer: PolicyListResponse,
    },
    async ({ executor, context }) => context.json(await listPolicies(executor)),
  )
}
