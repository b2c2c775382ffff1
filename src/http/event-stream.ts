/* Server-sent events as text (WHATWG HTML, section 9.2). A line ends with LF, CR or both, so a text of several lines becomes several data
 * lines, which the receiver joins with LF: in JSON these stand between the tokens only, where one line end is as good as another. */

/** The media type. */
export const eventStream = 'text/event-stream'

/** How soon a browser comes again after the end of a stream. */
export const opening = 'retry: 1000\n\n'

/** A comment: no event, but a sign of life. */
export const heartbeat = ': heartbeat\n\n'

/** An event. Without a name it is a "message". Neither name nor id may hold a line end. */
export function eventText(data: string, { name, id }: { readonly name?: string; readonly id?: string }): string {
  const head = `${name ? `event: ${name}\n` : ''}${id ? `id: ${id}\n` : ''}`
  return `${head}data: ${data.replace(/\r\n|\r|\n/g, '\ndata: ')}\n\n`
}
