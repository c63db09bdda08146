import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import { ebsWorld } from './ebs-world.ts';
import { FileMedia } from './file-media.ts';
import { codeOf, context, inOwnMounts, messageOf, run, scratch } from './scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const SETTLE_MS = 200;

/** Hosts in zones of the simulated AWS whose volumes have bytes and are mounted. */
const cluster = async (t: Test, zones: readonly ('a' | 'b')[] = ['a', 'b']) => {
  const folder = scratch(t);
  const media = new FileMedia(folder);
  const { aws, hosts, host } = await ebsWorld(t, { zones, media });
  const open = async (n: number) => {
    const provider = host(n, {}, media.devices(hosts[n] ?? ''));
    const backend = new BlockBackend(provider, { settleMs: SETTLE_MS });
    await backend.start(context());
    const target = (name: string): string => join(folder, `mounts-${n}`, name);
    return {
      ...{ backend, provider, target, id: hosts[n] ?? '' },
      mount: (volume: Volume, c = context(60_000)) => {
        mkdirSync(target(volume.name), { recursive: true });
        return backend.mount(volume, target(volume.name), c);
      },
      leave: async (volume: Volume) => {
        await backend.unmount(volume, target(volume.name), context());
        await backend.leave(volume, context());
      },
      file: (name: string, file: string) => join(target(name), 'data', file),
    };
  };
  const all = await Promise.all(zones.map((_, n) => open(n)));
  const [a, b] = all;
  if (a === undefined || b === undefined) throw new Error('no hosts');
  return { aws, a, b, all };
};

const disksOf = async ({ provider }: Awaited<ReturnType<typeof cluster>>['a']) =>
  (await provider.list(context(), 'data')).toSorted((x, y) => x.created.localeCompare(y.created));

t.test(
  'a volume of EBS moves to another zone and back with every byte, and its old disks are kept until they are retired',
  async (t) => {
    const { a, b } = await cluster(t);
    const volume = await a.backend.create({ name: 'data', options: { size: '1g', kind: 'gp3' } }, context());
    await a.mount(volume);
    const bytes = run('head', '-c', '1000000', '/dev/urandom');
    writeFileSync(a.file('data', 'bytes'), bytes, { flush: true });
    const refused = await messageOf(b.mount(volume));
    t.match(refused, /^VOLUME_BUSY: Volume data is in use on host .*, in zone eu-central-1a/);
    await a.leave(volume);
    await b.mount(volume);
    t.equal(readFileSync(b.file('data', 'bytes'), 'utf8'), bytes);
    writeFileSync(b.file('data', 'more'), 'written in b', { flush: true });
    t.match(b.backend.status(volume), { zone: 'eu-central-1b', generation: '2' });
    t.match(
      await messageOf(a.mount(volume)),
      /^VOLUME_BUSY: .*, in zone eu-central-1b/,
      'the old disk in its own zone is no way in',
    );
    await b.leave(volume);
    await a.mount(volume);
    t.equal(readFileSync(a.file('data', 'more'), 'utf8'), 'written in b');
    t.match(
      (await disksOf(a)).map(({ zone, tags }) => ({ zone, generation: tags['generation'], retired: tags['retired'] })),
      [
        { zone: 'eu-central-1a', generation: undefined, retired: /^20/ },
        { zone: 'eu-central-1b', generation: '2', retired: /^20/ },
        { zone: 'eu-central-1a', generation: '3', retired: undefined },
      ],
    );
    t.same(await a.provider.snapshots(context(), 'data'), [], 'no snapshot of a move is left');
    t.match(await a.backend.retire(volume, undefined, context()), [
      { generation: 1 },
      { generation: 2, zone: 'eu-central-1b' },
    ]);
    t.equal(await codeOf(a.backend.retire(volume, 3, context())), 'OPTION_INVALID');
    await a.backend.retire(volume, 2, context());
    t.equal((await disksOf(a)).filter(({ state }) => state !== 'deleting').length, 1);
    await a.leave(volume);
  },
);

t.test('of two hosts of different zones that mount it at once exactly one has it', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.backend.create({ name: 'data', options: { size: '1g' } }, context());
  await a.mount(volume);
  await a.leave(volume);
  for (let round = 0; round < 3; round += 1) {
    const hosts = [a, b];
    const ends = await Promise.all(hosts.map((host) => codeOf(host.mount(volume))));
    const winners = hosts.filter((_, n) => ends[n] === 'none');
    t.equal(winners.length, 1, ends.join());
    t.ok(
      ends.every((code) => ['none', 'VOLUME_BUSY', 'VOLUME_MOVING'].includes(code)),
      ends.join(),
    );
    for (const winner of winners) await winner.leave(volume);
  }
});

t.test('a volume of an instance that is stopped moves to another zone with what was synced', async (t) => {
  const { a, b, aws } = await cluster(t);
  const volume = await a.backend.create({ name: 'data', options: { size: '1g' } }, context());
  await a.mount(volume);
  writeFileSync(a.file('data', 'row'), 'synced', { flush: true });
  // Its kernel is gone with it; here it has to let go first.
  run('umount', a.target('data'));
  aws.stop(a.id);
  await b.mount(volume);
  t.equal(readFileSync(b.file('data', 'row'), 'utf8'), 'synced');
  await b.leave(volume);
});

t.test('without the right to make snapshots the volume stays usable where it is', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.backend.create({ name: 'data', options: { size: '1g' } }, context());
  await a.mount(volume);
  await a.leave(volume);
  Object.assign(b.provider, {
    snapshot: async () => {
      throw new PluginError('BACKEND_PERMISSION', { provider: 'ebs', permission: 'ec2:CreateSnapshot' });
    },
  });
  t.match(await messageOf(b.mount(volume)), /^BACKEND_PERMISSION: .*ec2:CreateSnapshot/);
  await a.mount(volume);
  await a.leave(volume);
});

t.test(
  'a volume that a living host is moving is not removed; otherwise every generation goes, and what a move left',
  async (t) => {
    const { a, b } = await cluster(t);
    const volume = await a.backend.create({ name: 'data', options: { size: '1g' } }, context());
    await a.mount(volume);
    await a.leave(volume);
    // It has got no further than that.
    const [disk] = await disksOf(a);
    const tag = { [`leaving-${b.id}`]: 'once eu-central-1b host-1' };
    await b.provider.tag(disk?.id ?? '', tag, context());
    t.match(
      await messageOf(a.backend.remove(volume, context())),
      /^VOLUME_MOVING: .* to zone eu-central-1b by host host-1/,
    );
    await b.provider.snapshot(disk?.id ?? '', { reason: 'move', move: 'once' }, 'token', context());
    await b.mount(volume);
    await b.leave(volume);
    await b.provider.snapshot(disk?.id ?? '', { reason: 'move', move: 'twice' }, 'other', context());
    await a.backend.remove(volume, context());
    t.same(await disksOf(a), []);
    t.same(await a.provider.snapshots(context(), 'data'), []);
  },
);
