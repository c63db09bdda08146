import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import type { Test } from 'tap';
import type { DiskProvider, Snapshot } from '../../volume-plugin/block/provider.ts';
import { context, grown, type MakeWorld, ready, settled, startWorld, used } from './disk-tools.ts';
import { codeOf } from './route-provider.ts';

/** What every provider of disks must do beside making, attaching and removing them. */
export const diskDayTwoConformance = async (t: Test, make: MakeWorld): Promise<void> => {
  const world = (t: Test) => startWorld(t, make);

  await t.test('the disks of one volume are listed by its name, those of several generations all', async (t) => {
    const { a, b, create, size, listed } = await world(t);
    const { id } = await create('data');
    await create('data-2');
    t.match(await listed(b, 1, 'data'), [{ id, volume: 'data' }]);
    t.same(await b.list(context(), 'dat'), []);
    const request = { volume: 'data', size, tags: { options: '{}', generation: '2' } };
    const second = await a.create(request, 'token-data-second', context());
    t.not(second.id, id);
    const found = await listed(b, 2, 'data');
    t.same(found.map((one) => one.id).sort(), [id, second.id].sort());
    t.same(found.map(({ tags }) => tags['generation']).sort(), ['2', undefined]);
  });

  await t.test('a disk becomes larger, attached or not, and never smaller', async (t) => {
    const { a, b, create, devices, growth } = await world(t);
    const { id, size } = await create('data');
    await settled(a, id, 'available');
    await a.resize(id, size, context());
    t.equal((await settled(b, id, 'available')).size, size, 'it is that large already');
    await a.resize(id, size + growth, context());
    t.equal((await grown(b, id, size + growth)).size, size + growth);
    await a.attach(id, context());
    const disk = await settled(a, id, 'attached');
    const device = (devices && (await a.device(disk, context()))) || '';
    await a.resize(id, size + 2 * growth, context());
    t.match(await grown(b, id, size + 2 * growth), { size: size + 2 * growth, state: 'attached' });
    if (!devices) return;
    await grown(a, id, size + 2 * growth);
    t.equal(Number(readFileSync(`/sys/class/block/${basename(device)}/size`, 'utf8')) * 512, size + 2 * growth);
    t.equal(await a.device(disk, context()), device, 'the kernel shows it under the same name');
  });

  await t.test('what there is not is neither resized nor copied', async (t) => {
    const { a, create, size } = await world(t);
    const { id } = await create('data');
    await settled(a, id, 'available');
    await a.remove(id, context());
    t.equal(await codeOf(a.resize(id, 2 * size, context())), 'DISK_MISSING');
    t.equal(await codeOf(a.snapshot(id, {}, 'snapshot-1', context())), 'DISK_MISSING');
    t.equal(await codeOf(a.adopt(id, 'other', {}, context())), 'DISK_MISSING');
    await a.release(id, context());
  });

  await t.test(
    'a snapshot has its tags and its origin, is listed on every host, and is taken once a token',
    async (t) => {
      const { a, b, create, selves, shown } = await world(t);
      const { id, size } = await create('data');
      await used(a, id, selves[0]?.id);
      const tags = { options: '{}', reason: 'user' };
      const taken = await a.snapshot(id, tags, 'snapshot-1', context());
      t.equal((await a.snapshot(id, tags, 'snapshot-1', context())).id, taken.id);
      t.match(await ready(b, taken.id), { id: taken.id, volume: 'data', disk: id, size, tags, progress: 100 });
      t.ok(Math.abs(Date.now() - Date.parse(taken.created)) < 60_000);
      await create('other');
      const copies = (host: DiskProvider, count: number): Promise<readonly Snapshot[]> =>
        shown(
          () => host.snapshots(context()),
          ({ length }) => length === count,
        );
      for (const host of [a, b]) t.match(await copies(host, 1), [{ id: taken.id }]);
      t.match(await b.snapshots(context(), 'data'), [{ id: taken.id }]);
      t.same(await b.snapshots(context(), 'other'), []);
      const second = await a.snapshot(id, tags, 'snapshot-2', context());
      t.not(second.id, taken.id);
      await b.tag(taken.id, { formatted: 'ext4', reason: undefined }, context());
      const renamed = await shown(
        () => a.describeSnapshot(taken.id, context()),
        // Clouds write tags in one call and take them away in another, and show either late.
        (found) => found?.tags.formatted !== undefined && found.tags.reason === undefined,
      );
      t.same(renamed?.tags, { options: '{}', formatted: 'ext4' });
      await ready(a, second.id);
      for (const one of [taken, second]) await b.removeSnapshot(one.id, context());
      await b.removeSnapshot(taken.id, context());
      t.same(await copies(a, 0), []);
      t.equal(await a.describeSnapshot(taken.id, context()), undefined);
    },
  );

  await t.test('a disk from a snapshot says so, may be larger, and outlives what it comes from', async (t) => {
    const { a, b, create, growth, selves, listed } = await world(t);
    const { id, size } = await create('data');
    await used(a, id, selves[0]?.id);
    const taken = await a.snapshot(id, { options: '{}' }, 'snapshot-1', context());
    await ready(a, taken.id);
    const request = { volume: 'copy', size: size + growth, snapshot: taken.id, tags: { options: '{}' } };
    const made = await a.create(request, 'token-copy', context());
    t.equal((await a.create(request, 'token-copy', context())).id, made.id);
    const disk = await settled(b, made.id, 'available');
    t.match(disk, { volume: 'copy', fromSnapshot: taken.id, size: size + growth });
    t.equal(
      await codeOf(a.create({ ...request, volume: 'gone', snapshot: `${taken.id}x` }, 'token-gone', context())),
      'BACKEND_REFUSED',
      'from a snapshot that is not there nothing is made',
    );
    t.same(await a.list(context(), 'gone'), []);
    await a.removeSnapshot(taken.id, context());
    await a.remove(id, context());
    t.match(await listed(b, 1), [{ id: made.id, volume: 'copy' }]);
  });

  await t.test('a disk that is released is no volume’s, is found by its name, and can be adopted', async (t) => {
    const { a, b, create, selves, listed } = await world(t);
    const { id } = await create('data');
    await settled(a, id, 'available');
    await settled(b, id, 'available');
    t.match(await b.search(id, context()), [{ id, volume: 'data' }]);
    await a.attach(id, context());
    for (const host of [a, b]) await settled(host, id, 'attached');
    t.match(await b.search(id, context()), [{ id, holder: String }], 'who has it is said');
    await a.detach(id, selves[0]?.id ?? '', context());
    await settled(a, id, 'available');
    await a.release(id, context());
    await a.release(id, context());
    t.equal(await a.describe(id, context()), undefined, 'who let it go sees it at once');
    for (const host of [a, b]) t.same(await listed(host, 0), []);
    for (const name of [id, 'data']) t.match(await b.search(name, context()), [{ id, volume: undefined }], name);
    t.same(await b.search('nobody', context()), []);
    const tags = { options: '{}', imported: id };
    const adopted = await b.adopt(id, 'again', tags, context());
    t.equal(adopted.volume, 'again');
    t.same(adopted.tags, tags, 'its tags are these and no others of ours');
    t.equal((await b.adopt(id, 'again', tags, context())).id, adopted.id, 'once');
    t.match(await listed(a, 1), [{ id: adopted.id, volume: 'again', state: 'available', tags }]);
    t.match(await listed(a, 1, 'again'), [{ id: adopted.id }]);
    t.equal(await codeOf(a.adopt(adopted.id, 'third', tags, context())), 'VOLUME_EXISTS');
  });

  await t.test('a token whose disk was let go is burned, and another one makes a new disk', async (t) => {
    const { a, create } = await world(t);
    const { id } = await create('data');
    await settled(a, id, 'available');
    await a.release(id, context());
    t.equal(await codeOf(create('data')), 'TOKEN_BURNED');
    const other = await a.create(
      { volume: 'data', size: (await a.search(id, context()))[0]?.size ?? 0, tags: {} },
      'token-2',
      context(),
    );
    t.not(other.id, id);
  });

  if (!(await make(t)).devices) return;
  await t.test('what was on an attached disk when a snapshot was begun is on the disks made from it', async (t) => {
    const { a, create } = await world(t);
    const { id, size } = await create('data');
    await a.attach(id, context());
    const device = (await a.device(await settled(a, id, 'attached'), context())) ?? '';
    const put = (text: string): void => {
      const opened = openSync(device, 'r+');
      writeSync(opened, text, 4096);
      fsyncSync(opened);
      closeSync(opened);
    };
    put('before');
    const taken = await a.snapshot(id, {}, 'snapshot-1', context());
    put('after!');
    await ready(a, taken.id);
    const made = await a.create({ volume: 'copy', size, snapshot: taken.id, tags: {} }, 'token-copy', context());
    await settled(a, made.id, 'available');
    await a.attach(made.id, context());
    const copy = (await a.device(await settled(a, made.id, 'attached'), context())) ?? '';
    t.not(copy, device);
    const found = Buffer.alloc(6);
    const opened = openSync(copy, 'r');
    readSync(opened, found, 0, 6, 4096);
    closeSync(opened);
    t.equal(found.toString(), 'before');
  });
};
