#!/usr/bin/env node
/* The command `postbag`. In the published package it runs dist/. In a clone (where src/ is) it runs the sources, so that
 * `npx postbag` works there without a build; if the calling Node cannot run TypeScript, with the Node of node_modules. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url))
const source = path('../src/cli/main.ts')

if (!existsSync(source)) {
  await import('../dist/src/cli/main.js')
} else if (process.features.typescript) {
  await import('../src/cli/main.ts')
} else {
  const node = path(`../node_modules/node/bin/node${process.platform === 'win32' ? '.exe' : ''}`)
  if (!existsSync(node)) {
    console.error(`Node ${process.version} cannot run TypeScript. Run "npm ci" first: it brings a Node that can.`)
    process.exit(1)
  }
  const child = spawn(node, [source, ...process.argv.slice(2)], { stdio: 'inherit' })
  // What was sent to this process alone. (A Ctrl-C reaches the child by itself, too: to it the two are one, src/cli/signals.ts.)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}
