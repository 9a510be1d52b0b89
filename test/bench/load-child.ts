// Loads the model folder that it is given and prints, as JSON, how long that took and the most memory that it held.

import { readFileSync } from 'node:fs';
import { loadModelFolder } from '../../node/model/folder.ts';
import { parameterCount } from '../../node/model/weights.ts';

const start = performance.now();
const { weights } = await loadModelFolder(process.argv[2]!);
const milliseconds = performance.now() - start;
// of this program alone: resourceUsage().maxRSS begins with what the parent held when it forked
const highWater = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
const peakBytes = Number(highWater![1]) * 1024;
console.log(JSON.stringify({ parameters: parameterCount(weights), milliseconds, peakBytes }));
