// A policy as a folder that transformers.js runs: config.json, the tokenizer's files, onnx/model.onnx and its weights.
// Weights are float32 (the bf16 values, exactly) in a file of their own, always: a protobuf ends at 2 GB, and a stream of
// tensors needs no second copy in memory.

import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeModel, type StoredTensor } from '../graph/encode.ts';
import type { Weights } from '../weights.ts';
import { buildDecoderGraph } from './decoder-graph.ts';
import type { ExportSource } from './source.ts';

/** The names that transformers.js looks for. */
const GRAPH_FILE = 'model.onnx';
const WEIGHTS_FILE = 'model.onnx_data';
/** ONNX asks for multiples of the page size, so that the file can be mapped. */
const ALIGNMENT = 4096;

/** How far an export is, in bytes of weights. */
export type ExportProgress = (doneBytes: number, totalBytes: number) => void;

function places(weights: Weights): ReadonlyMap<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>();
  let end = 0;
  for (const [name, { data }] of weights) {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = offset + data.byteLength;
    stored.set(name, { file: WEIGHTS_FILE, offset, byteLength: data.byteLength });
  }
  return stored;
}

/** config.json with what transformers.js reads of its own; everything else as it was. */
function configFor(configJson: string): string {
  const json = JSON.parse(configJson) as Record<string, unknown>;
  json['transformers.js_config'] = { dtype: 'fp32', use_external_data_format: true };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** generation_config.json for a model that has none: the token ids that config.json names. */
function generationConfigFor(configJson: string): string {
  const json = JSON.parse(configJson) as Record<string, unknown>;
  const ids = ['bos_token_id', 'eos_token_id', 'pad_token_id'].flatMap((name) =>
    json[name] === undefined || json[name] === null ? [] : [[name, json[name]]],
  );
  return `${JSON.stringify({ _from_model_config: true, ...Object.fromEntries(ids) }, null, 2)}\n`;
}

async function writeWeights(
  path: string,
  weights: Weights,
  stored: ReadonlyMap<string, StoredTensor>,
  onProgress: ExportProgress,
): Promise<void> {
  const total = Math.max(0, ...[...stored.values()].map(({ offset, byteLength }) => offset + byteLength));
  const handle = await open(path, 'w');
  try {
    for (const [name, { data }] of weights) {
      const { offset, byteLength } = stored.get(name)!;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, byteLength);
      for (let done = 0; done < byteLength; ) {
        done += (await handle.write(bytes, done, byteLength - done, offset + done)).bytesWritten;
      }
      onProgress(offset + byteLength, total);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes the files into a folder that exists. */
export async function writeOnnxFiles(
  dir: string,
  source: ExportSource,
  onProgress: ExportProgress = () => {},
): Promise<void> {
  const stored = places(source.weights);
  await mkdir(join(dir, 'onnx'));
  await writeWeights(join(dir, 'onnx', WEIGHTS_FILE), source.weights, stored, onProgress);
  await writeFile(join(dir, 'onnx', GRAPH_FILE), encodeModel(buildDecoderGraph(source.config), stored), {
    flush: true,
  });
  await writeFile(join(dir, 'config.json'), configFor(source.configJson), { flush: true });
  const files = new Map<string, Uint8Array | string>([
    ['generation_config.json', generationConfigFor(source.configJson)],
    ...source.files,
  ]);
  for (const [name, bytes] of files) await writeFile(join(dir, name), bytes, { flush: true });
}
