/* How far the database is, and whether its clock and this machine's agree. Postbag goes by the database's; this machine's counts for
 * tokens, and for the times that senders give. */
import { about, levelFrom, ok, type Remark, type Topic } from './finding.ts'

/** The quickest of these says most. */
const tries = 5
const farMillis = { hint: 50, warning: 250 } as const
const skewSeconds = { hint: 1, warning: 30 } as const

export const clock: Topic = {
  name: 'clock',
  async look({ askBriefly, now, machineTime }) {
    const measured: { readonly tripMillis: number; readonly skewMillis: number }[] = []
    for (let i = 0; i < tries; i++) {
      measured.push(await measure())
    }
    const [quickest] = measured.sort((a, b) => a.tripMillis - b.tripMillis)
    return quickest ? judgeClock(quickest.tripMillis, quickest.skewMillis) : []

    async function measure() {
      const started = performance.now()
      const [row] = await askBriefly<{ millis: number }>(
        'select extract(epoch from coalesce($1::timestamptz, clock_timestamp()))::double precision * 1000 as millis',
        [now],
      )
      const tripMillis = performance.now() - started
      return { tripMillis, skewMillis: (row?.millis ?? 0) - (machineTime() - tripMillis / 2) }
    }
  },
}

/** @param skewMillis by how much the database's clock is ahead; known to half a round trip. */
export function judgeClock(tripMillis: number, skewMillis: number): readonly Remark[] {
  const remarks: Remark[] = []
  const trip = `${tripMillis < 10 ? tripMillis.toFixed(1) : Math.round(tripMillis)} ms`
  const far = levelFrom(tripMillis, farMillis)
  if (far) {
    const what = `A round trip to the database takes ${trip}; each operation is one.`
    remarks.push({
      level: far,
      what,
      remedy: 'Run servers and functions nearer to the database, or send and receive in batches.',
    })
  }
  const certain = Math.max(0, Math.abs(skewMillis) - tripMillis / 2) / 1000
  const skewed = levelFrom(certain, skewSeconds)
  if (skewed) {
    const what = `The database's clock is ${about(Math.abs(skewMillis) / 1000)} ${skewMillis > 0 ? 'ahead of' : 'behind'} this machine's.`
    const remedy = 'Set both by NTP: tokens end, and times that senders give come, too early or too late by as much.'
    remarks.push({ level: skewed, what, remedy })
  }
  return remarks.length > 0 ? remarks : [ok(`A round trip takes ${trip}; the clocks agree.`)]
}
