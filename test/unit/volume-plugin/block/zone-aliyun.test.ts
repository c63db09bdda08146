import t from 'tap';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import { generationOf } from '../../../../volume-plugin/block/generations.ts';
import type { Disk } from '../../../../volume-plugin/block/provider.ts';
import { ZoneMove } from '../../../../volume-plugin/block/zone-move.ts';
import { ask, context, diskSite, settled } from './aliyun-disk-world.ts';
import { holdDisk } from './hold-disk.ts';
import { codeOf } from './scratch.ts';

t.setTimeout(60_000);

t.test('a volume of Aliyun moves between zones, and of two that want it at once exactly one has it', async (t) => {
  const site = await diskSite(t, 'ab');
  const open = async (n: number) => {
    const provider = site.host(n);
    t.teardown(() => provider.close());
    const self = await provider.start(context());
    const move = new ZoneMove({ provider, self, traits: () => ({}), settleMs: 200 });
    const use = async (): Promise<Disk> => {
      const brought = await move.bring('data', undefined, context(30_000));
      const disk = await holdDisk(provider, self, brought.disk, context());
      try {
        move.checkAttached(disk);
      } catch (error) {
        await detachDisk(provider, self, disk.id, context());
        throw error;
      }
      return await move.finish({ ...brought, disk }, context());
    };
    return { provider, self, use, letGo: ({ id }: Disk) => detachDisk(provider, self, id, context()) };
  };
  const [a, b] = [await open(0), await open(1)];
  const tags = { options: '{}', uuid: 'u-1', formatting: 'u-1', formatted: 'ext4' };
  const { id } = await ask(a.provider, { tags });
  await settled(a.provider, id, 'available');
  t.equal(generationOf(await a.use()), 1);
  t.equal(await codeOf(b.use()), 'VOLUME_BUSY');
  await a.letGo({ id } as Disk);
  const moved = await b.use();
  t.match(moved, { zone: b.self.zone, state: 'attached', tags: { ...tags, generation: '2' } });
  t.match(await a.provider.describe(id, context()), { state: 'available', tags: { retired: /^20/ } });
  t.same(await a.provider.snapshots(context(), 'data'), []);
  await b.letGo(moved);
  for (let round = 0; round < 5; round += 1) {
    const ends = await Promise.allSettled([a.use(), b.use()]);
    const won = ends.flatMap((end, n) =>
      end.status === 'fulfilled' ? [{ disk: end.value, host: n === 0 ? a : b }] : [],
    );
    t.equal(won.length, 1, `round ${round}`);
    for (const { disk, host } of won) await host.letGo(disk);
  }
  const unmarked = (await a.provider.list(context(), 'data')).filter((disk) => disk.tags['retired'] === undefined);
  t.equal(unmarked.filter((disk) => disk.tags['moving'] === undefined).length, 1, 'one disk is the volume');
});
