import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ebsWorld } from '../block/ebs-world.ts';
import { FileMedia } from '../block/file-media.ts';
import { context, inOwnMounts, messageOf, scratch } from '../block/scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(60_000);

const GATHER_MS = 30;
const BUSY = 'VOLUME_BUSY: Volume data is in use on host host-0';

/** A host, and what it writes to tags of disks. */
const hostOf = async (provider: DiskProvider, mounts: string) => {
  const writes: unknown[] = [];
  const tag = provider.tag.bind(provider);
  provider.tag = async (id, tags, c) => {
    // Others may see it before it is answered.
    writes.push(tags);
    await tag(id, tags, c);
  };
  const backend = new BlockBackend(provider, { gatherMs: GATHER_MS, settleMs: 100 });
  await backend.start(context());
  const target = join(mounts, 'data');
  return {
    ...{ backend, provider, writes },
    mount: (volume: Volume) => {
      mkdirSync(target, { recursive: true });
      return backend.mount(volume, target, context());
    },
    leave: async (volume: Volume) => {
      await backend.unmount(volume, target, context());
      await backend.leave(volume, context());
    },
  };
};

type Host = Awaited<ReturnType<typeof hostOf>>;

/** Until the other host is refused with these words. */
const refused = async ({ backend, mount }: Host, volume: Volume, text: string): Promise<string> => {
  for (const c = context(5_000); ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const found = (await backend.find('data', context())) ?? volume;
    const message = await messageOf(mount(found));
    if (message === text || c.signal.aborted) return message;
  }
};

t.test('a host that is refused a volume is told how many containers of which host have it', async (t) => {
  const folder = scratch(t);
  const open = (n: number) => {
    const self = { id: `host-id-${n}`, name: `host-${n}` };
    const provider = new LoopProvider({ folder: join(folder, 'disks'), self, quota: undefined });
    return hostOf(provider, join(folder, `mounts-${n}`));
  };
  const [a, b] = [await open(0), await open(1)];
  const volume = await a.backend.create({ name: 'data', options: { size: '16m' } }, context());
  await a.mount(volume);
  t.equal(await messageOf(b.mount(volume)), `${BUSY}, and whether that host still runs is not known.`);
  a.writes.length = 0;
  a.backend.tellHolds(volume, 1);
  a.backend.tellHolds(volume, 2);
  const text = `${BUSY} by 2 containers, and whether that host still runs is not known.`;
  t.equal(await refused(b, volume, text), text);
  t.match(
    await messageOf(b.backend.remove(volume, context())),
    `${BUSY} by 2 containers.`,
    'docker volume rm says it too',
  );
  t.same(a.writes, [{ holds: '2 host-id-0' }], 'one write');
  a.backend.tellHolds(volume, 0);
  await a.leave(volume);
  await b.mount(volume);
  const [disk] = await a.provider.list(context(), 'data');
  t.equal(disk?.tags['holds'], undefined, 'nothing of the earlier host is left');
  t.match(await messageOf(a.mount(volume)), /^VOLUME_BUSY: Volume data is in use on host host-1, and/);
  await b.leave(volume);
});

t.test('the same with disks of EBS; what an earlier host has said counts for nothing', async (t) => {
  const folder = scratch(t);
  const media = new FileMedia(folder);
  const { aws, hosts, host } = await ebsWorld(t, { media });
  const open = (n: number) => hostOf(host(n, {}, media.devices(hosts[n] ?? '')), join(folder, `mounts-${n}`));
  const [a, b] = [await open(0), await open(1)];
  const volume = await a.backend.create({ name: 'data', options: { size: '1g' } }, context());
  await a.mount(volume);
  a.writes.length = 0;
  a.backend.tellHolds(volume, 2);
  t.equal(await refused(b, volume, `${BUSY} by 2 containers.`), `${BUSY} by 2 containers.`);
  a.backend.tellHolds(volume, 1);
  t.equal(await refused(b, volume, `${BUSY} by 1 container.`), `${BUSY} by 1 container.`);
  t.same(a.writes, [{ holds: `2 ${hosts[0]}` }, { holds: `1 ${hosts[0]}` }]);
  await a.leave(volume);
  await b.mount(volume);
  t.match(aws.disks.volumes(), [{ tags: { 'drayage:holds': `1 ${hosts[0]}` } }]);
  t.equal(await messageOf(a.mount(volume)), 'VOLUME_BUSY: Volume data is in use on host host-1.');
  b.backend.tellHolds(volume, 1);
  const text = 'VOLUME_BUSY: Volume data is in use on host host-1 by 1 container.';
  t.equal(await refused(a, volume, text), text);
  await b.leave(volume);
});
