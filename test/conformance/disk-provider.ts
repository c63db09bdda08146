import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Test } from 'tap';
import type { Disk, DiskProvider } from '../../volume-plugin/block/provider.ts';
import { diskDayTwoConformance } from './disk-day-two.ts';
import { context, type MakeWorld, settled, startWorld } from './disk-tools.ts';
import { codeOf } from './route-provider.ts';

export type { DiskWorld } from './disk-tools.ts';

/** What every provider of disks must do. `make` answers a world without disks, gone when the test ends. */
export const diskProviderConformance = async (t: Test, make: MakeWorld): Promise<void> => {
  const world = (t: Test) => startWorld(t, make);

  await t.test('a disk that is made is listed on every host, with its tags, and held by none', async (t) => {
    const { a, b, create, size, listed } = await world(t);
    const { id } = await create('data');
    const disk = await settled(b, id, 'available');
    t.match(disk, { id, volume: 'data', tags: { options: '{}' }, holder: undefined });
    t.ok(disk.size >= size, 'it is as large as was asked for');
    t.ok(Math.abs(Date.now() - Date.parse(disk.created)) < 60_000, 'its age is known');
    for (const host of [a, b]) t.match(await listed(host, 1), [{ id, volume: 'data' }]);
  });

  await t.test(
    'making it again with the same token makes no second one, also when both are at it at once',
    async (t) => {
      const { a, b, create, listed } = await world(t);
      const made = await Promise.all([create('data', a), create('data', b), create('data', a), create('data', b)]);
      t.equal(new Set(made.map(({ id }) => id)).size, 1);
      t.equal((await create('data')).id, made[0]?.id);
      t.equal((await listed(b, 1)).length, 1);
    },
  );

  await t.test('who it belongs to after a restart is known, and the host is the same', async (t) => {
    const { a, b, create, selves, again, heldBy } = await world(t);
    const { id } = await create('data');
    await a.attach(id, context());
    await settled(a, id, 'attached');
    const restarted = again(0);
    t.same(await restarted.start(context()), selves[0]);
    const disk = await settled(restarted, id, 'attached');
    t.equal(disk.holder?.id, selves[0]?.id);
    t.match((await heldBy(b, id, selves[0]?.id))?.holder, { id: selves[0]?.id, name: selves[0]?.name });
    await restarted.detach(id, selves[0]?.id ?? '', context());
    await settled(b, id, 'available');
  });

  await t.test(
    'an attached disk has a device of its size; another host has none, and cannot have the disk',
    async (t) => {
      const { a, b, create, devices, selves, heldBy } = await world(t);
      const { id } = await create('data');
      await a.attach(id, context());
      const disk = await settled(a, id, 'attached');
      if (devices) {
        const device = (await a.device(disk, context())) ?? '';
        t.equal(Number(readFileSync(`/sys/class/block/${basename(device)}/size`, 'utf8')) * 512, disk.size);
        t.equal(await a.device(disk, context()), device, 'the same when asked again');
      }
      t.equal(await b.device(disk, context()), undefined);
      t.equal(await codeOf(b.attach(id, context())), 'VOLUME_BUSY');
      t.equal((await heldBy(b, id, selves[0]?.id))?.holder?.id, selves[0]?.id);
      t.equal(await codeOf(a.attach(id, context())), 'none', 'the one that has it may ask again');
    },
  );

  await t.test(
    'a disk that is given up can be had by another host; giving up what is not had changes nothing',
    async (t) => {
      const { a, b, create, selves, heldBy } = await world(t);
      const [hostA = '', hostB = ''] = selves.map(({ id }) => id);
      const { id } = await create('data');
      await a.attach(id, context());
      await settled(a, id, 'attached');
      await b.detach(id, hostB, context());
      t.equal((await heldBy(b, id, hostA))?.holder?.id, hostA, 'it is not for another one to give up');
      await a.detach(id, hostA, context());
      await settled(b, id, 'available');
      await a.detach(id, hostA, context());
      await b.attach(id, context());
      t.equal((await settled(b, id, 'attached')).holder?.id, hostB);
      await a.detach(id, hostA, context());
      t.equal((await heldBy(b, id, hostB))?.holder?.id, hostB);
    },
  );

  await t.test('of two hosts at once one has it, in every round', async (t) => {
    const { a, b, create, selves, rounds, shown } = await world(t);
    const { id } = await create('data');
    const wins = [0, 0];
    const wrong: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const answers = await Promise.all([a, b].map((host) => codeOf(host.attach(id, context()))));
      const winners = answers.flatMap((answer, n) => (answer === 'none' ? [n] : []));
      const [winner] = winners;
      const seen = await shown(
        () => a.describe(id, context()),
        (found) => found?.holder !== undefined,
      );
      const holder = seen?.holder?.id;
      if (winners.length !== 1 || winner === undefined || selves[winner]?.id !== holder) {
        wrong.push(`round ${round}: ${answers.join(', ')}; held by ${holder}`);
        break;
      }
      if (answers.some((answer) => answer !== 'none' && answer !== 'VOLUME_BUSY')) wrong.push(answers.join(', '));
      wins[winner] = (wins[winner] ?? 0) + 1;
      await settled(a, id, 'attached');
      await [a, b][winner]?.detach(id, holder ?? '', context());
      for (const host of [a, b]) await settled(host, id, 'available');
    }
    t.same(wrong, []);
    t.equal((wins[0] ?? 0) + (wins[1] ?? 0), rounds, `${wins.join(' : ')}`);
  });

  await t.test('tags are added, changed and taken away, for every host to see', async (t) => {
    const { a, b, create, shown } = await world(t);
    const { id } = await create('data');
    await a.tag(id, { formatted: 'ext4', epoch: '1' }, context());
    await b.tag(id, { epoch: '2' }, context());
    const tagsOf = (host: DiskProvider, epoch: string, formatted?: string): Promise<Disk | undefined> =>
      shown(
        () => host.describe(id, context()),
        (found) => found?.tags.epoch === epoch && found.tags.formatted === formatted,
      );
    t.same((await tagsOf(a, '2', 'ext4'))?.tags, { options: '{}', formatted: 'ext4', epoch: '2' });
    await a.tag(id, { formatted: undefined }, context());
    t.same((await a.describe(id, context()))?.tags, { options: '{}', epoch: '2' }, 'who wrote it sees it at once');
    t.same((await tagsOf(b, '2'))?.tags, { options: '{}', epoch: '2' });
  });

  await t.test('what its holder and another host write to its tags at once is there in the end', async (t) => {
    const { a, b, create, selves, shown } = await world(t);
    const { id } = await create('data');
    await a.attach(id, context());
    await settled(a, id, 'attached');
    const holds = `2 ${selves[0]?.id}`;
    await Promise.all([a.tag(id, { holds }, context()), b.tag(id, { epoch: '1' }, context())]);
    for (const host of [a, b]) {
      const found = await shown(
        () => host.describe(id, context()),
        (disk) => disk?.tags.holds === holds && disk.tags.epoch === '1',
      );
      t.match(found?.tags, { holds, epoch: '1', options: '{}' });
    }
  });

  await t.test('a disk is removed once, and not while somebody has it', async (t) => {
    const { a, b, create, selves, listed } = await world(t);
    const { id } = await create('data');
    await a.attach(id, context());
    await settled(a, id, 'attached');
    for (const host of [a, b]) t.equal(await codeOf(host.remove(id, context())), 'VOLUME_BUSY');
    await a.detach(id, selves[0]?.id ?? '', context());
    await settled(b, id, 'available');
    await b.remove(id, context());
    await b.remove(id, context());
    t.equal(await b.describe(id, context()), undefined, 'who removed it sees it at once');
    t.same(await listed(a, 0), []);
    t.equal(await a.describe(id, context()), undefined);
    t.equal(await codeOf(a.attach(id, context())), 'DISK_MISSING');
    await a.detach(id, selves[0]?.id ?? '', context());
  });

  await t.test('a disk made anew under the name of one that was removed is another disk', async (t) => {
    const { a, create } = await world(t);
    const first = await create('data');
    await settled(a, first.id, 'available');
    await a.remove(first.id, context());
    const second = await a.create({ volume: 'data', size: first.size, tags: {} }, 'token-2', context());
    t.not(second.id, first.id);
    t.equal(await a.describe(first.id, context()), undefined);
    t.same(second.tags, {});
  });

  await t.test('what never was is not there, in so many words', async (t) => {
    const { a, create } = await world(t);
    const { id } = await create('data');
    for (const unknown of [`${id}x`, 'nonsense', '', '../../etc/passwd']) {
      t.equal(await a.describe(unknown, context()), undefined);
      t.equal(await codeOf(a.remove(unknown, context())), 'none');
      t.equal(await codeOf(a.tag(unknown, { a: 'b' }, context())), 'DISK_MISSING');
    }
  });

  await diskDayTwoConformance(t, make);
};
