// docker/ without a Docker engine: the compose file is consistent, its commands are commands of murmur, and the
// Dockerfile copies what is there. The ring of these very commands runs in compose-ring.test.ts.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parsedCommand as parsed } from '../support/command-line.ts';
import { type ComposeService, readCompose } from '../support/compose.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const DOCKERFILE = read('docker/Dockerfile')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));
const PACKAGE = JSON.parse(read('package.json')) as {
  readonly bin: { readonly murmur: string };
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
};

test('one trainer, one verifier, three nodes, each with a volume of its own', async () => {
  const { services, volumes } = readCompose();
  const roles: Record<string, number> = {};
  for (const [name, { command, volumes: mounted }] of Object.entries(services)) {
    const role = (await parsed(command)).name;
    roles[role] = (roles[role] ?? 0) + 1;
    assert.deepEqual(mounted, [`${name}:/data`]);
  }
  assert.deepEqual(roles, { train: 1, verify: 1, node: 3 });
  assert.deepEqual(Object.keys(volumes).sort(), Object.keys(services).sort());
});

test('all are of one network, and join a service at the port that it listens on', async () => {
  const { services } = readCompose();
  const options = new Map<string, Readonly<Record<string, unknown>>>();
  for (const [name, { command }] of Object.entries(services)) options.set(name, (await parsed(command)).options);
  assert.equal(new Set([...options.values()].map((o) => o['network'])).size, 1);
  for (const [name, { join: addresses }] of options) {
    for (const address of addresses as string[]) {
      const [, host, port] = /^\/dns4\/([\w-]+)\/tcp\/(\d+)$/.exec(address) ?? [];
      assert.equal(options.get(host!)?.['port'], Number(port), `${name} joins ${address}`);
      assert.ok(services[name]!.depends_on?.includes(host!), `${name} starts after ${host}`);
    }
  }
});

test('compose knows no key but those of its format', () => {
  const { name, services, volumes, ...other } = readCompose();
  assert.match(name, /^[a-z0-9][a-z0-9_-]*$/);
  assert.ok(volumes !== undefined);
  assert.deepEqual(
    Object.keys(other).filter((key) => !key.startsWith('x-')),
    [],
  );
  const known = ['image', 'build', 'restart', 'stop_grace_period', 'command', 'volumes', 'depends_on'];
  for (const [service, keys] of Object.entries(services) as [string, ComposeService][]) {
    assert.deepEqual(
      Object.keys(keys).filter((key) => !known.includes(key)),
      [],
      service,
    );
    assert.equal(keys.image, `murmuration:${PACKAGE.version}`);
    assert.ok(existsSync(join(ROOT, 'docker', keys.build.context, keys.build.dockerfile)), service);
  }
});

test('the Dockerfile copies what the checkout has, or an earlier stage makes', () => {
  const ignored = read('.dockerignore').split('\n').filter(Boolean);
  const stages = DOCKERFILE.filter((line) => / AS /.test(line)).map((line) => line.split(' AS ')[1]);
  for (const line of DOCKERFILE.filter((each) => each.startsWith('COPY '))) {
    const words = line.split(' ').slice(1);
    const from = words[0]!.startsWith('--from=') ? words.shift()!.slice('--from='.length) : undefined;
    for (const source of words.slice(0, -1)) {
      if (from === undefined) {
        assert.ok(existsSync(join(ROOT, source)), line);
        assert.ok(!ignored.includes(source), `${source} is in .dockerignore`);
      } else {
        assert.ok(stages.includes(from), line);
        const made = source.replace('/app/', '');
        assert.ok(['dist', 'node_modules'].includes(made) || existsSync(join(ROOT, made)), line);
      }
    }
  }
  for (const needed of ['package.json', 'node_modules', 'recipes', 'dist']) {
    assert.ok(DOCKERFILE.includes(`COPY --from=build /app/${needed} ./${needed}`), needed);
  }
});

test('the image runs the Node that the project pins, not as root, and starts murmur', async () => {
  const bases = DOCKERFILE.filter((line) => line.startsWith('FROM ')).map((line) => line.split(' ')[1]);
  for (const base of bases) assert.equal(base, `node:${PACKAGE.dependencies['node']}-bookworm-slim`);
  assert.ok(DOCKERFILE.includes('USER 1000:1000'));
  const words = (instruction: string): string[] => {
    const line = DOCKERFILE.find((each) => each.startsWith(`${instruction} `))!;
    return JSON.parse(line.slice(instruction.length)) as string[];
  };
  assert.deepEqual(words('ENTRYPOINT'), ['node', PACKAGE.bin.murmur]);
  const { name, options } = await parsed(words('CMD'));
  assert.equal(name, 'node');
  const exposed = DOCKERFILE.find((line) => line.startsWith('EXPOSE '))!
    .split(' ')
    .slice(1);
  assert.deepEqual(exposed.map(Number), [options['port'], Number(options['port']) + 1]);
});
