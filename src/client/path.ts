/* Paths, as far as they are made of names. */

/** One thing of a list, such as "/queues/orders". A URL takes "", "." and ".." for steps, which would lead to something else: with a space they are
 * names, which the server refuses. */
export function pathTo(list: string, name: string): string {
  return `/${list}/${encodeURIComponent(name.replace(/^\.{0,2}$/, '$& '))}`
}
