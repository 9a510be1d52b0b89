#!/usr/bin/env node
// Entry point of `murmur`. Looks at the Node version before anything that an older Node cannot load is imported.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `murmur needs Node 22.18 or newer, this is ${process.versions.node}; run it through npx or an npm script, which use the Node 24 installed with it\n`,
  );
  process.exit(1);
}
const { runProgram } = await import('./program.ts');
process.exit(await runProgram(process.argv));
