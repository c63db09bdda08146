import t from 'tap';
import type { Disk, DiskProvider, DiskTags } from '../../../../volume-plugin/block/provider.ts';
import { removeRetired, retiredDisks } from '../../../../volume-plugin/block/retiring.ts';
import { codeOf, context, MIB, messageOf } from './scratch.ts';

const disk = (generation: number, tags: DiskTags = {}, more: Partial<Disk> = {}): Disk => ({
  ...{ id: `disk-${generation}`, volume: 'data', size: 16 * MIB, state: 'available', serial: '', created: '' },
  tags: { ...(generation > 1 && { generation: String(generation) }), ...tags },
  ...more,
});
const retired = { retired: '2026-11-22T09:00:00.000Z' };
const ids = (disks: readonly Disk[]): readonly string[] => disks.map(({ id }) => id);

/** Only what is removed matters. */
const remover = () => {
  const removed: string[] = [];
  const provider = { remove: async (id: string) => void removed.push(id) } as unknown as DiskProvider;
  return {
    removed,
    remove: (disks: readonly Disk[], last: number) => removeRetired(provider, 'data', disks, last, context()),
  };
};

t.test('what a volume left behind is shown, and removed up to the generation that is typed out', async (t) => {
  const disks = [disk(3), disk(1, retired), disk(2, retired)];
  t.same(ids(retiredDisks(disks)), ['disk-1', 'disk-2']);
  const one = remover();
  t.same(ids(await one.remove(disks, 1)), ['disk-1']);
  t.same(one.removed, ['disk-1']);
  const all = remover();
  await all.remove(disks, 2);
  t.same(all.removed, ['disk-1', 'disk-2']);
});

t.test(
  'what is not retired is never removed: the volume itself, a generation in the making, a number nobody has',
  async (t) => {
    const { remove, removed } = remover();
    t.equal(await codeOf(remove([disk(3), disk(2, retired)], 3)), 'OPTION_INVALID');
    t.equal(await codeOf(remove([disk(3), disk(2)], 2)), 'OPTION_INVALID');
    t.match(await messageOf(remove([disk(1)], 1)), /no generation of it is retired/);
    t.same(removed, []);
  },
);

t.test('nothing is removed while the volume’s own disk is not there, or not verified', (t) => {
  for (const current of [
    disk(2, { moving: 'disk-1' }),
    disk(2, {}, { state: 'failed' }),
    disk(2, {}, { state: 'creating' }),
    disk(2, retired),
  ]) {
    t.same(retiredDisks([current, disk(1, retired)]), []);
  }
  t.same(retiredDisks([disk(1, retired)]), []);
  t.same(retiredDisks([]), []);
  t.end();
});
