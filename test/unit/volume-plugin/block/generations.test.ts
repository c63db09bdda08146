import t from 'tap';
import {
  currentDisk,
  currentDisks,
  generationOf,
  isMoving,
  unusable,
} from '../../../../volume-plugin/block/generations.ts';
import type { Disk, DiskTags } from '../../../../volume-plugin/block/provider.ts';

const disk = (id: string, tags: DiskTags = {}, more: Partial<Disk> = {}): Disk => ({
  ...{ id, volume: 'data', size: 1, state: 'available', serial: id, tags, created: '2026-01-01T00:00:00.000Z' },
  ...more,
});

const current = (...disks: readonly Disk[]): string | undefined => {
  const ids = [disks, disks.toReversed()].map((order) => currentDisk(order)?.id);
  t.equal(ids[0], ids[1], 'the order of the answer does not matter');
  return ids[0];
};

t.test('the current disk is of the highest generation that is not moving', async (t) => {
  t.equal(current(), undefined);
  t.equal(current(disk('a')), 'a');
  t.equal(current(disk('a'), disk('b', { generation: '2' })), 'b');
  t.equal(current(disk('a'), disk('b', { generation: '2', moving: 'host-1' })), 'a');
  t.equal(current(disk('a', { generation: '9' }), disk('b', { generation: '10' })), 'b', 'numbers, not texts');
  t.equal(current(disk('a', { leaving: 'h' }), disk('b', { generation: '2', moving: 'h' })), 'a');
  t.equal(current(disk('a', { retired: '2026' }), disk('b', { generation: '2' })), 'b');
});

t.test('a volume whose only disk is moving or retired is there all the same', async (t) => {
  t.equal(current(disk('a', { moving: 'h', generation: '2' })), 'a');
  t.equal(current(disk('a', { retired: '2026' })), 'a');
});

t.test('a disk that is being deleted is no volume any more', async (t) => {
  t.equal(current(disk('a', {}, { state: 'deleting' })), undefined);
  t.equal(current(disk('a'), disk('b', { generation: '2' }, { state: 'deleting' })), 'a');
});

t.test('of two that hosts have made at once every host takes the older one', async (t) => {
  t.equal(current(disk('b'), disk('a', {}, { created: '2026-01-02T00:00:00.000Z' })), 'b');
  t.equal(current(disk('b'), disk('a')), 'a', 'and of two made in one moment the one with the lower id');
});

t.test('an empty disk that shows late does not take the place of one that has data', async (t) => {
  const late = disk('a');
  const used = disk('b', { formatted: 'ext4' }, { created: '2026-01-02T00:00:00.000Z' });
  t.equal(current(late, used), 'b');
  t.equal(current(disk('a', { formatted: 'ext4' }), used), 'a', 'of two with data the older one');
  t.equal(current(disk('a', { generation: '2' }), used), 'a', 'and a later generation before both');
});

t.test('each volume has its own', async (t) => {
  const disks = [disk('a'), disk('b', {}, { volume: 'other' }), disk('c', { generation: '2' })];
  t.same(
    currentDisks(disks).map(({ id }) => id),
    ['c', 'b'],
  );
});

t.test('a generation that somebody has spoilt is the first', async (t) => {
  for (const generation of ['', '0', '-1', '1e9', 'two', '99999999999'])
    t.equal(generationOf(disk('a', { generation })), 1);
  t.equal(generationOf(disk('a', { generation: '17' })), 17);
  t.ok(isMoving(disk('a', { moving: '' })));
});

t.test('old data cannot come back: what has a later sibling, leaves or was retired is not used', async (t) => {
  const fine = disk('a');
  t.equal(unusable(fine, []), undefined);
  t.equal(unusable(fine, [fine, disk('b', {}, { created: '2027' })]), undefined);
  const later = disk('b', { generation: '2' });
  t.match(unusable(fine, [fine, later]), { state: 'out of date', reason: 'b is generation 2, it is 1' });
  t.match(unusable(fine, [disk('b', { generation: '2', moving: 'h' })]), { state: 'out of date' });
  t.equal(unusable(fine, [disk('b', { generation: '2' }, { state: 'deleting' })]), undefined);
  t.equal(unusable(later, [fine, later]), undefined);
  t.match(unusable(disk('a', { 'leaving-i-1': 'x zone-b host-1' }), []), { state: 'leaving', reason: /host host-1/ });
  t.match(unusable(disk('a', { retired: '2026' }), []), { state: 'retired' });
  t.match(unusable(disk('a', { moving: 'host-1' }), []), { state: 'moving' });
});
