// Blobs over real streams: ranges, culprits, limits, waits that end.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { sha256, toHex } from '../../../node/protocol/bytes.ts';
import { BLOB_PROTOCOL } from '../../../node/protocol/topics.ts';
import { until } from '../../support/until.ts';
import { createSwarm } from './support.ts';

const MIB = 2 ** 20;

describe('blobs', { timeout: 60_000 }, () => {
  const swarm = createSwarm();
  after(() => swarm.close());

  it('come whole from the second peer when the first sends wrong bytes, and the first pays', async () => {
    const honest = await swarm.node();
    const liar = await swarm.node();
    const asker = await swarm.node({ bootstrap: [honest, liar].map((node) => node.host.addresses()[0]!) });
    await until(() => asker.host.peers.connected().length === 2, 'connected');
    const bytes = new Uint8Array(randomBytes(5 * MIB + 17));
    const hash = await honest.store.put(bytes);
    const wrong = bytes.slice();
    wrong[4 * MIB]! ^= 1;
    liar.store.poison(hash, wrong);
    const options = { sizeBytes: bytes.length, timeoutMs: 20_000, from: [liar.host.peerId, honest.host.peerId] };
    const got = await asker.blobs.fetch(hash, options);
    assert.equal(Buffer.compare(got, bytes), 0);
    assert.ok(await asker.store.has(hash));
    assert.equal(asker.host.standing.points(liar.host.peerId) > 30, true);
    assert.equal(asker.host.standing.points(honest.host.peerId), 0);
    const rows = await asker.host.peers.table();
    const row = rows.find((it) => it.peer === honest.host.peerId);
    assert.equal(row?.counts.bytesFetched, bytes.length);
  });

  it('are asked for by range and by list', async () => {
    const holder = await swarm.node();
    const asker = await swarm.node({ bootstrap: [holder.host.addresses()[0]!] });
    await until(() => asker.host.peers.connected().length === 1, 'connected');
    const bytes = new Uint8Array(randomBytes(100));
    const hash = await holder.store.put(bytes);
    const empty = await holder.store.put(new Uint8Array(0));
    const missing = toHex(sha256('missing'));
    const { peerId } = holder.host;
    assert.deepEqual(await asker.blobs.range(peerId, hash, 90, 50), bytes.slice(90));
    assert.deepEqual(await asker.blobs.have(peerId, [missing, hash, empty]), [false, true, true]);
    assert.deepEqual(await asker.blobs.fetch(empty, { sizeBytes: 0, timeoutMs: 5_000 }), new Uint8Array(0));
    await assert.rejects(asker.blobs.range(peerId, missing, 0, 1), { code: 'BLOB_MISSING' });
    await assert.rejects(asker.blobs.fetch(missing, { sizeBytes: 1, timeoutMs: 5_000 }), { code: 'BLOB_MISSING' });
    await assert.rejects(asker.blobs.fetch(hash, { sizeBytes: 99, timeoutMs: 5_000 }), { code: 'BLOB_MISSING' });
    await assert.rejects(asker.blobs.fetch(hash, { sizeBytes: 2 ** 40, timeoutMs: 1 }), { code: 'TOO_LARGE' });
  });

  it('that never come end in REQUEST_TIMEOUT, dripping or silent', async () => {
    const silent = await swarm.node();
    const asker = await swarm.node({ bootstrap: [silent.host.addresses()[0]!] });
    await until(() => asker.host.peers.connected().length === 1, 'connected');
    const hash = toHex(sha256('never'));
    let isDripping = false;
    await silent.host.libp2p.unhandle(BLOB_PROTOCOL);
    await silent.host.libp2p.handle(BLOB_PROTOCOL, (stream) => {
      if (!isDripping) return;
      stream.send(Uint8Array.of(100));
      const drip = setInterval(() => stream.send(Uint8Array.of(0)), 50);
      stream.addEventListener('close', () => clearInterval(drip));
    });
    await assert.rejects(asker.blobs.fetch(hash, { sizeBytes: 9, timeoutMs: 400 }), { code: 'REQUEST_TIMEOUT' });
    isDripping = true;
    await assert.rejects(asker.blobs.fetch(hash, { sizeBytes: 9, timeoutMs: 400 }), { code: 'REQUEST_TIMEOUT' });
    assert.equal(asker.host.standing.points(silent.host.peerId), 0);
  });

  it('of more bytes than asked for are cut off before they are held', async () => {
    const flood = await swarm.node();
    const asker = await swarm.node({ bootstrap: [flood.host.addresses()[0]!] });
    await until(() => asker.host.peers.connected().length === 1, 'connected');
    await flood.host.libp2p.unhandle(BLOB_PROTOCOL);
    // A length prefix of 256 MiB − 1, then bytes.
    await flood.host.libp2p.handle(BLOB_PROTOCOL, (stream) => {
      stream.send(Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 1, 2, 3));
    });
    const ask = asker.blobs.range(flood.host.peerId, toHex(sha256('x')), 0, 10);
    await assert.rejects(ask, { code: 'TOO_LARGE' });
  });

  it('are served within a peer’s bandwidth, and bad requests cost points', async () => {
    const holder = await swarm.node({ settings: { serveRate: { perSecond: 1, burst: 1_000 } } });
    const asker = await swarm.node({ bootstrap: [holder.host.addresses()[0]!] });
    await until(() => asker.host.peers.connected().length === 1, 'connected');
    const { host, store: blobs } = holder;
    const hash = await blobs.put(new Uint8Array(randomBytes(900)));
    assert.equal((await asker.blobs.range(host.peerId, hash, 0, 900)).length, 900);
    await assert.rejects(asker.blobs.range(host.peerId, hash, 0, 900), { code: 'REQUEST_REFUSED' });
    const options = { maxAnswerBytes: 100, timeoutMs: 5_000 };
    const garbage = asker.requests.ask(host.peerId, BLOB_PROTOCOL, Uint8Array.of(255, 255), options);
    await assert.rejects(garbage, { code: 'STREAM_ENDED' });
    assert.ok(host.standing.points(asker.host.peerId) > 15);
    const aborted = asker.blobs.range(host.peerId, hash, 0, 1, AbortSignal.abort());
    await assert.rejects(aborted, { code: 'INTERRUPTED' });
    await assert.rejects(asker.requests.ask(host.peerId, '/murmuration/blob/2', new Uint8Array(1), options), {
      code: 'REQUEST_REFUSED',
    });
  });
});
