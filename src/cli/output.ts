/* What commands write: results on standard output, everything for a waiting person on standard error. */

// Without a listener a reader that goes away would end the process in the middle; write() reports it to who wrote.
process.stdout.on('error', () => {})

/** Write to standard output; resolves when the system has taken it, rejects with EPIPE if nobody reads any more. */
export function write(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => (error ? reject(error) : resolve()))
  })
}

/** A line for machines: with --json every command writes one JSON object per line. */
export function writeJson(value: object): Promise<void> {
  return write(`${JSON.stringify(value)}\n`)
}

export function writeLine(line: string): Promise<void> {
  return write(`${line}\n`)
}

/** Without anything that a terminal would obey, besides line breaks and tabs. */
export function harmless(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]|\p{Cf}/gu, ' ')
}

/** Harmless, and without line breaks and tabs. */
export function onOneLine(text: string): string {
  return harmless(text).replace(/[\n\t\p{Zl}\p{Zp}]/gu, ' ')
}

/** Columns under their headings, for people, a line for each row whatever is in it, and harmless. The last column is not padded. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows].map((row) => row.map(onOneLine))
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A line for each name and what it says, harmless. */
export function listed(lines: readonly (readonly [name: string, said: string])[]): string {
  const width = Math.max(...lines.map(([name]) => name.length))
  return lines.map(([name, said]) => `${name.padEnd(width)}  ${harmless(said)}`).join('\n')
}

/** 100000 as 100,000. */
export function thousands(count: number): string {
  return count.toLocaleString('en-US')
}

/** "1 message", "2 messages", "2 deliveries" */
export function counted(count: number, noun: string): string {
  return `${thousands(count)} ${count === 1 ? noun : `${noun.replace(/([^aeiou])y$/, '$1ie')}s`}`
}

/** A number of seconds as people say it: 90 s, 5 min, 12 h, 2 d. */
export function spoken(seconds: number): string {
  const [unit, size] =
    seconds % 86_400 === 0
      ? ['d', 86_400]
      : seconds % 3600 === 0
        ? ['h', 3600]
        : seconds % 60 === 0
          ? ['min', 60]
          : ['s', 1]
  return seconds === 0 ? '0 s' : `${thousands(seconds / size)} ${unit}`
}
