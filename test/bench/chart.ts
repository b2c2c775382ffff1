/* The chart of the flat line: messages per second over the seconds, one line per contender, as an SVG that reads well on light and dark. */

export interface Line {
  readonly name: string
  /** Messages in each second; the snapshot is taken after the first five. */
  readonly perSecond: readonly number[]
}

const width = 720
const height = 300
const plot = { left: 64, right: 110, top: 34, bottom: 40 }
const secondsBefore = 5
/** Of the lines, in their order: distinguishable without colour by their labels, and with contrast on white and on black. */
const colours = ['#2f81f7', '#d97706', '#8b949e']

export function flatLine(lines: readonly Line[]): string {
  const seconds = Math.max(...lines.map(({ perSecond }) => perSecond.length))
  const step = niceStep(Math.max(...lines.flatMap(({ perSecond }) => perSecond)) / 4)
  const top = step * Math.ceil(Math.max(...lines.flatMap(({ perSecond }) => perSecond)) / step)
  const x = (second: number) => round(plot.left + (second / seconds) * (width - plot.left - plot.right))
  const y = (rate: number) => round(height - plot.bottom - (rate / top) * (height - plot.top - plot.bottom))

  const grid = Array.from({ length: Math.round(top / step) + 1 }, (_, n) => n * step).map(
    (rate) =>
      `<line class="grid" x1="${plot.left}" x2="${width - plot.right}" y1="${y(rate)}" y2="${y(rate)}"/>` +
      `<text x="${plot.left - 8}" y="${y(rate) + 4}" text-anchor="end">${rate.toLocaleString('en')}</text>`,
  )
  const times = Array.from({ length: Math.floor((seconds - secondsBefore) / 10) + 1 }, (_, n) => n * 10).map(
    (time) =>
      `<text x="${x(secondsBefore + time)}" y="${height - plot.bottom + 18}" text-anchor="middle">${time} s</text>`,
  )
  const held =
    `<rect class="held" x="${x(secondsBefore)}" y="${plot.top}" width="${x(seconds) - x(secondsBefore)}" ` +
    `height="${height - plot.top - plot.bottom}"/>` +
    `<text x="${x(secondsBefore) + 6}" y="${plot.top + 16}">another transaction holds a snapshot</text>`
  const drawn = lines.map(({ name, perSecond }, index) => {
    const colour = colours[index % colours.length]
    const points = perSecond.map((rate, second) => `${x(second + 0.5)},${y(rate)}`).join(' ')
    const end = perSecond.at(-1) ?? 0
    return (
      `<polyline fill="none" stroke="${colour}" stroke-width="2.5" stroke-linejoin="round" points="${points}"/>` +
      `<text x="${x(perSecond.length) + 6}" y="${y(end) + 4}" style="fill:${colour};font-weight:600">${name}</text>`
    )
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="Messages per second under a held snapshot">
<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .grid { stroke: #d0d7de }
  .held { fill: #818b98; opacity: .12 }
  @media (prefers-color-scheme: dark) { text { fill: #9198a1 } .grid { stroke: #3d444d } }
</style>
<text x="${plot.left}" y="18">messages per second: send, receive and ack in batches of 10, 8 connections</text>
${[held, ...grid, ...times, ...drawn].join('\n')}
</svg>
`
}

/** 1, 2 or 5 times a power of ten, at least as large. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
