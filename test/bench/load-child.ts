// Loads the model folder that it is given and prints, as JSON, how long that took and the most memory that it held.

import { loadModelFolder } from '../../node/model/folder.ts';
import { parameterCount } from '../../node/model/weights.ts';
import { peakBytes } from './processes.ts';

const start = performance.now();
const { weights } = await loadModelFolder(process.argv[2]!);
const milliseconds = performance.now() - start;
console.log(JSON.stringify({ parameters: parameterCount(weights), milliseconds, peakBytes: peakBytes() }));
