/* The shape of a CloudEvent in the OpenAPI document. (Its attributes are checked by event-attributes.ts: they may be any, by a rule.) */
import { z } from '@hono/zod-openapi'

const event = z
  .object({
    specversion: z.literal('1.0'),
    id: z.string(),
    source: z.string(),
    type: z.string(),
    subject: z.string().optional(),
    time: z.iso.datetime({ offset: true }).optional(),
    datacontenttype: z.string().optional(),
    dataschema: z.string().optional(),
    data: z.unknown().optional(),
    data_base64: z.string().optional(),
  })
  .openapi('CloudEvent')
/** CloudEvents 1.0 as the content of a request or an answer. */
export const eventContent = {
  'application/cloudevents+json': { schema: event },
  'application/cloudevents-batch+json': { schema: z.array(event) },
}
