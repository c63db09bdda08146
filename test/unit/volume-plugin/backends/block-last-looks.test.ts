import t from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { epochOf } from '../../../../volume-plugin/block/holding.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { boundTo, cluster } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(60_000);

/** What happens to a disk behind the back of the host that mounts it, once. */
type Meanwhile = (provider: DiskProvider, disk: string) => Promise<void>;

t.test('a host whose disk another one begins to move while it attaches it lets it go again', async (t) => {
  let meanwhile: Meanwhile | undefined;
  const { a } = await cluster(t, {
    wrap: (provider) => ({
      ...boundTo(provider),
      attach: async (disk, c) => {
        await provider.attach(disk, c);
        await meanwhile?.(provider, disk);
        meanwhile = undefined;
      },
    }),
  });
  const volume = await a.create('data');
  const disk = volume.handle.disk ?? '';
  meanwhile = (provider) => provider.tag(disk, { 'leaving-host-id-1': 'once zone-b host-1' }, context());
  t.match(await messageOf(a.mount(volume)), /^VOLUME_MOVING: Volume data is being moved to zone zone-b by host host-1/);
  t.equal(mountAt(readMountTable(), a.target('data')), undefined);
  t.match(await a.provider.describe(disk, context()), { state: 'available', holder: undefined });
  await a.provider.tag(disk, { 'leaving-host-id-1': undefined }, context());
  await a.mount(volume);
  await a.leave(volume);
});

t.test('a host that is fenced while it mounts has nothing mounted, and hands nothing out', async (t) => {
  let meanwhile: Meanwhile | undefined;
  const { a } = await cluster(t, {
    wrap: (provider) => ({
      ...boundTo(provider),
      tag: async (disk, tags, c) => {
        await provider.tag(disk, tags, c);
        if (tags['formatted'] === undefined) return;
        await meanwhile?.(provider, disk);
        meanwhile = undefined;
      },
    }),
  });
  const volume = await a.create('data');
  meanwhile = async (provider, disk) => {
    const found = await provider.describe(disk, context());
    await provider.tag(disk, { epoch: String(epochOf(found?.tags ?? {}) + 1) }, context());
  };
  t.match(await messageOf(a.mount(volume)), /^VOLUME_LOST: .*an operator has taken it from this host/);
  t.equal(mountAt(readMountTable(), a.target('data')), undefined);
  await a.mount(volume);
  await a.leave(volume);
});
