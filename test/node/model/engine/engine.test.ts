// The PolicyEngine port over its worker thread: results cross whole, errors keep their code, every call settles.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { roundToBf16InPlace } from '../../../../node/model/bf16.ts';
import { createPolicyEngine } from '../../../../node/model/engine/engine.ts';
import { policyRoot } from '../../../../node/model/policy-root.ts';
import { writeSafetensors } from '../../../../node/model/safetensors.ts';
import { drawnWithin } from '../../../../node/model/sampling/draw.ts';
import { isSwarmError } from '../../../../node/protocol/errors.ts';
import type { GeneratedSequence, PolicyEngine, PolicyFiles } from '../../../../node/protocol/ports.ts';
import { uniforms } from '../../../../node/protocol/seeds.ts';
import { randomModel } from '../../../support/random-model.ts';

const MEMORY = 64 << 20;
const sampling = { temperature: 1, topK: 0, topP: 1, maxNewTokens: 24, endTokens: [1], tokenCount: 24 };
const seeds = Array.from({ length: 8 }, (_, k) => createHash('sha256').update(`engine ${k}`).digest());
const group = { prompt: Uint32Array.of(5, 6, 7), sequenceSeeds: seeds };

let dir: string;
const policies: PolicyFiles[] = [];
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'murmur-engine-'));
  for (const k of [1, 2, 3]) {
    const { configJson, weights } = randomModel({}, k);
    const root = Buffer.from(policyRoot(weights)).toString('hex');
    const weightsFile = join(dir, `${k}.safetensors`);
    // One as float32 unrounded: the policy is its bf16 rounding all the same.
    await writeFile(weightsFile, writeSafetensors(weights, k === 2 ? 'F32' : 'BF16'));
    policies.push({ policyRoot: root, configJson, weightsFile });
  }
});
after(() => rm(dir, { recursive: true }));

async function withEngine(use: (engine: PolicyEngine) => Promise<void>, memoryBytes: number = MEMORY): Promise<void> {
  const engine = createPolicyEngine({ threads: 1, memoryBytes });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

const tokensOf = (groups: readonly (readonly GeneratedSequence[])[]): number[][] =>
  groups.flat().map(({ tokens }) => [...tokens]);

test('what one engine generates, it replays, for several policies of one config', async () => {
  await withEngine(async (engine) => {
    const seen = new Set<string>();
    for (const policy of policies) {
      assert.ok((await engine.load(policy)).parameters > 1000);
      const groups = await engine.generate(policy.policyRoot, sampling, [group, group]);
      assert.deepEqual(tokensOf([groups[0]!]), tokensOf([groups[1]!]));
      seen.add(JSON.stringify(tokensOf(groups)));
      const sequences = groups[0]!.map(({ tokens }) => ({ prompt: group.prompt, tokens }));
      const replayed = await engine.replay(policy.policyRoot, sampling, sequences);
      for (const [k, { logprobs, below, upTo, hidden }] of replayed.entries()) {
        const made = groups[0]![k]!;
        const us = uniforms(seeds[k]!, made.tokens.length);
        assert.equal(hidden.length, made.hidden.length);
        for (let t = 0; t < made.tokens.length; t++) {
          assert.ok(drawnWithin(us[t]!, below[t]!, upTo[t]!, 1e-4));
          assert.ok(Math.abs(logprobs[t]! - made.logprobs[t]!) < 1e-5);
        }
      }
    }
    assert.equal(seen.size, policies.length);
  });
});

test('tokens are told as they are drawn, in order, all of them and before the answer, and change nothing', async () => {
  const [policy] = policies as [PolicyFiles];
  await withEngine(async (engine) => {
    await engine.load(policy);
    const told: number[][][] = [[], []].map(() => seeds.map(() => []));
    const groups = await engine.generate(policy.policyRoot, sampling, [group, group], undefined, (drawn) =>
      told[drawn.group]![drawn.index]!.push(drawn.token),
    );
    assert.deepEqual(
      told,
      groups.map((sequences) => sequences.map(({ tokens }) => [...tokens])),
    );
    assert.deepEqual(tokensOf(await engine.generate(policy.policyRoot, sampling, [group, group])), told.flat());
    const abort = new AbortController();
    let heard = 0;
    const long = { ...sampling, maxNewTokens: 40, endTokens: [] };
    const given = engine.generate(policy.policyRoot, long, [group], abort.signal, () => {
      if (++heard === seeds.length) abort.abort();
    });
    await assert.rejects(given, (error) => isSwarmError(error, 'INTERRUPTED'));
    assert.ok(heard < 40 * seeds.length, `${heard} tokens told after the first ${seeds.length}`);
  });
});

test('a policy that left for another comes back by itself; one unloaded does not', async () => {
  const [a, b] = policies as [PolicyFiles, PolicyFiles];
  await withEngine(async (engine) => {
    const { parameters } = await engine.load(a);
    const first = tokensOf(await engine.generate(a.policyRoot, sampling, [group]));
    await engine.load(b);
    await engine.generate(b.policyRoot, sampling, [group]);
    assert.deepEqual(tokensOf(await engine.generate(a.policyRoot, sampling, [group])), first);
    await engine.unload(a.policyRoot);
    const gone = engine.generate(a.policyRoot, sampling, [group]);
    await assert.rejects(gone, (error) => isSwarmError(error, 'POLICY_NOT_LOADED'));
    assert.ok(parameters > 0);
  }, 80_000); // room for the weights of one
});

test('errors keep their code across the thread, and the engine goes on', async () => {
  const [policy] = policies as [PolicyFiles];
  await withEngine(async (engine) => {
    const wrongRoot = { ...policy, policyRoot: 'ab'.repeat(32) };
    const expectations = [
      [engine.load({ ...policy, weightsFile: join(dir, 'none') }), 'MODEL_FILE_MISSING'],
      [engine.load({ ...policy, configJson: '{}' }), 'UNSUPPORTED_MODEL'],
      [engine.load({ ...policy, configJson: '{' }), 'MODEL_FILE_CORRUPT'],
      [engine.load(wrongRoot), 'ROOT_MISMATCH'],
      [engine.replay(wrongRoot.policyRoot, sampling, []), 'POLICY_NOT_LOADED'],
    ] as const;
    for (const [call, code] of expectations) await assert.rejects(call, (error) => isSwarmError(error, code));
    await engine.load(policy);
    const bad = engine.replay(policy.policyRoot, sampling, [{ prompt: Uint32Array.of(99), tokens: Uint32Array.of(1) }]);
    await assert.rejects(bad, (error) => isSwarmError(error, 'MALFORMED'));
    assert.equal((await engine.generate(policy.policyRoot, sampling, [group]))[0]!.length, seeds.length);
  });
  await withEngine(async (engine) => {
    await assert.rejects(engine.load(policy), (error) => isSwarmError(error, 'OUT_OF_MEMORY_BUDGET'));
  }, 1000);
});

test('an abort ends the work, queued or running, and nothing else', async () => {
  const [policy] = policies as [PolicyFiles];
  await withEngine(async (engine) => {
    await engine.load(policy);
    const long = { ...sampling, maxNewTokens: 200, endTokens: [] };
    const running = new AbortController();
    const queued = new AbortController();
    const one = engine.generate(policy.policyRoot, long, [group], running.signal);
    const two = engine.generate(policy.policyRoot, long, [group], queued.signal);
    const three = engine.generate(policy.policyRoot, sampling, [group]);
    running.abort();
    queued.abort();
    for (const call of [one, two]) await assert.rejects(call, (error) => isSwarmError(error, 'INTERRUPTED'));
    assert.equal((await three).length, 1);
    const before = engine.generate(policy.policyRoot, sampling, [group], AbortSignal.abort());
    await assert.rejects(before, (error) => isSwarmError(error, 'INTERRUPTED'));
  });
});

test('close settles what is pending and refuses what comes after', async () => {
  const [policy] = policies as [PolicyFiles];
  const engine = createPolicyEngine({ threads: 1, memoryBytes: MEMORY });
  await engine.load(policy);
  const pending = engine.generate(policy.policyRoot, { ...sampling, maxNewTokens: 200, endTokens: [] }, [group]);
  const settled = assert.rejects(pending, (error) => isSwarmError(error, 'ENGINE_CLOSED'));
  await engine.close();
  await settled;
  await assert.rejects(engine.load(policy), (error) => isSwarmError(error, 'ENGINE_CLOSED'));
});

test('a sequence over 8192 tokens is generated and replayed alike, between short ones, up to what the model is made for', async () => {
  const shape = { hiddenSize: 4, intermediateSize: 4, layers: 1, heads: 1, keyValueHeads: 1, headDim: 4 };
  const { configJson, weights } = randomModel({ ...shape, maxPositions: 9_000 }, 4);
  roundToBf16InPlace(weights);
  const weightsFile = join(dir, 'long.safetensors');
  await writeFile(weightsFile, writeSafetensors(weights, 'BF16'));
  const policy = { policyRoot: Buffer.from(policyRoot(weights)).toString('hex'), configJson, weightsFile };
  const prompt = Uint32Array.from({ length: 8_500 }, (_, i) => (i * i) % 24);
  const few = { ...sampling, maxNewTokens: 4, endTokens: [] };
  await withEngine(async (engine) => {
    await engine.load(policy);
    const short = await engine.generate(policy.policyRoot, few, [group]);
    const [long] = await engine.generate(policy.policyRoot, few, [{ prompt, sequenceSeeds: [seeds[0]!] }]);
    const { tokens } = long![0]!;
    const [replayed] = await engine.replay(policy.policyRoot, few, [{ prompt, tokens }]);
    const us = uniforms(seeds[0]!, tokens.length);
    for (const [t, u] of us.entries()) assert.ok(drawnWithin(u, replayed!.below[t]!, replayed!.upTo[t]!, 1e-4));
    for (const [t, logprob] of long![0]!.logprobs.entries()) {
      assert.ok(Math.abs(logprob - replayed!.logprobs[t]!) < 1e-4);
    }
    assert.deepEqual(tokensOf(await engine.generate(policy.policyRoot, few, [group])), tokensOf(short));
    await assert.rejects(
      engine.generate(policy.policyRoot, { ...few, maxNewTokens: 600 }, [{ prompt, sequenceSeeds: [seeds[0]!] }]),
      (error) => isSwarmError(error, 'TOO_LARGE') && error.detail['positions'] === 9_000,
    );
  });
});

test('altered weights answer under the same root but do not replay', async () => {
  const [policy] = policies as [PolicyFiles];
  await withEngine(async (honest) => {
    await withEngine(async (liar) => {
      await honest.load(policy);
      await liar.load(policy, { alterWeights: { seed: 1, scale: 0.3 } });
      const [lies] = await liar.generate(policy.policyRoot, sampling, [group]);
      const sequences = lies!.map(({ tokens }) => ({ prompt: group.prompt, tokens }));
      const replayed = await honest.replay(policy.policyRoot, sampling, sequences);
      const misses = replayed.reduce((sum, { below, upTo }, k) => {
        const us = uniforms(seeds[k]!, below.length);
        return sum + us.filter((u, t) => !drawnWithin(u, below[t]!, upTo[t]!, 1e-4)).length;
      }, 0);
      assert.ok(misses > 0);
    });
  });
});

test('a worker that dies rejects what is pending and what comes after, and close still ends', async () => {
  const [policy] = policies as [PolicyFiles];
  const deaths = ['process.exit(7)', 'throw new Error("broken")', 'import "node:no-such-module"'];
  for (const death of deaths) {
    const workerEntry = new URL(`data:text/javascript,${encodeURIComponent(death)}`);
    const engine = createPolicyEngine({ threads: 1, memoryBytes: MEMORY, workerEntry });
    for (let call = 0; call < 2; call++) {
      await assert.rejects(engine.load(policy), (error) => isSwarmError(error, 'ENGINE_FAILED'), death);
    }
    await engine.close();
  }
});

test('a request that cannot be sent is refused, and the engine goes on', async () => {
  const [policy] = policies as [PolicyFiles];
  await withEngine(async (engine) => {
    const unsendable = { ...policy, hook: () => 0 };
    await assert.rejects(engine.load(unsendable), (error) => isSwarmError(error, 'ENGINE_FAILED'));
    assert.ok((await engine.load(policy)).parameters > 0);
  });
});
