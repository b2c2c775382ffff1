/* A Worker that answers with the findings. */
import { findings } from './signing-findings.ts'

export default {
  fetch: async () => Response.json(await findings()),
}
