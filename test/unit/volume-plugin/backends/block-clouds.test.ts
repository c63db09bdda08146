import t, { type Test } from 'tap';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ebsWorld } from '../block/ebs-world.ts';
import { codeOf, context, messageOf } from '../block/scratch.ts';

t.setTimeout(60_000);

const GIB = 2 ** 30;

/** Day-2 work with the disks of a cloud, as far as no device is needed: what it takes its time for, and remembers. */
const world = async (t: Test) => {
  const { host, aws } = await ebsWorld(t, { times: { snapshotMs: 50, createMs: 50 } });
  const provider: DiskProvider = host(0);
  const backend = new BlockBackend(provider, { settleMs: 50 });
  await backend.start(context());
  t.teardown(() => backend.close());
  const create = (name: string, options: Record<string, string>, making = `making of ${name}`) =>
    backend.create({ name, options, making }, context());
  /** As if it had been mounted once. */
  const used = async (volume: Volume): Promise<Volume> => {
    await provider.tag(volume.handle['disk'] ?? '', { formatted: 'ext4' }, context());
    return volume;
  };
  return { aws, backend, provider, create, used, find: (name: string) => backend.find(name, context()) };
};

t.test('a volume of EBS grows, is copied, kept and imported again', async (t) => {
  const { backend, provider, create, used, find } = await world(t);
  const { dayTwo } = backend;
  const volume = await used(await create('data', { size: '1g', 'on-remove': 'snapshot', tags: 'team=web' }));
  t.match(await dayTwo.resize(volume, '3g', context()), { options: { size: '3g' } });
  t.match(await find('data'), { options: { size: '3g', tags: 'team=web' } });
  const taken = await dayTwo.snapshot(volume, 'once', context());
  t.equal((await dayTwo.snapshot(volume, 'once', context())).id, taken.id);
  const clone = await create('copy', { from: 'data' });
  const disk = await provider.describe(clone.handle['disk'] ?? '', context());
  t.match(disk, { volume: 'copy', size: 3 * GIB, tags: { clone: 'yes', uuid: String } });
  t.match(await dayTwo.snapshots(undefined, context()), [{ id: taken.id, reason: 'user' }], 'and no other is left');
  await backend.remove(volume, context());
  t.equal(await find('data'), undefined);
  const kept = (await dayTwo.snapshots('data', context())).find(({ reason }) => reason === 'on-remove');
  t.match(kept, { state: 'ready', size: 3 * GIB });
  const back = await used(await create('back', { from: kept?.id ?? '', 'on-remove': 'retain' }));
  await backend.remove(back, context());
  t.equal(await find('back'), undefined);
  const imported = await dayTwo.import({ disk: 'back', volume: 'again' }, context());
  t.match(imported, { handle: back.handle, options: { size: '3g' } });
  t.match(await messageOf(dayTwo.import({ disk: 'back', volume: 'third' }, context())), /^IMPORT_REFUSED/);
});

t.test('a volume is made, removed and made again, though EC2 remembers its tokens', async (t) => {
  const { backend, create } = await world(t);
  const ids = new Set<string | undefined>();
  for (let round = 0; round < 6; round += 1) {
    const volume = await create('data', { size: '1g' }, `round ${round}`);
    ids.add(volume.handle['disk']);
    t.same((await create('data', { size: '1g' }, 'another')).handle, volume.handle);
    await backend.remove(volume, context());
  }
  t.equal(ids.size, 6);
});

t.test('a volume of REX-Ray is found by its Name tag, when that is certain', async (t) => {
  const { backend, provider } = await world(t);
  const { dayTwo } = backend;
  const foreign = (name: string) => provider.create({ volume: name, size: GIB, tags: {} }, `rexray ${name}`, context());
  for (const name of ['pgdata', 'twice']) await provider.release((await foreign(name)).id, context());
  const other = await provider.create({ volume: 'twice', size: GIB, tags: {} }, 'another', context());
  await provider.release(other.id, context());
  t.match(await dayTwo.import({ disk: 'pgdata', volume: 'pgdata' }, context()), { name: 'pgdata' });
  t.match(
    await messageOf(dayTwo.import({ disk: 'twice', volume: 'data' }, context())),
    /there are several with this name/,
  );
  t.match(await dayTwo.import({ disk: other.id, volume: 'data' }, context()), { handle: { disk: other.id } });
  t.equal(await codeOf(dayTwo.import({ disk: 'nobody', volume: 'x' }, context())), 'IMPORT_REFUSED');
});

t.test('kinds of disks go to EC2 as they were asked for, and what it has not is refused before', async (t) => {
  const { aws, create, find } = await world(t);
  await create('data', { size: '10g', kind: 'gp3', iops: '4000', throughput: '200', encrypted: 'true' });
  t.match(aws.disks.volumes(), [{ size: 10, type: 'gp3', iops: 4000, throughput: 200, encrypted: true }]);
  t.equal(await codeOf(create('other', { size: '10g', kind: 'floppy' })), 'OPTION_INVALID');
  t.equal(await codeOf(create('other', { size: '10g', kind: 'gp3', iops: '1' })), 'OPTION_INVALID');
  t.equal(await find('other'), undefined);
});
