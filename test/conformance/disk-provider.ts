import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { type Context, newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/log.ts';
import type { Disk, DiskProvider, DiskState, Snapshot } from '../../volume-plugin/block/provider.ts';

/** How the suite gets at an implementation. All hosts see the same disks. */
export interface DiskWorld {
  /** A provider of host `n`, not started. Called again for the same `n`, it is that host after a restart. */
  host(n: number): DiskProvider;
  /** Bytes of a disk that is good enough. */
  readonly size: number;
  /** Bytes that a disk can become larger by, twice. */
  readonly growth: number;
  /** Disks appear as devices on this machine. */
  readonly devices: boolean;
  /** How often two hosts are after one disk at the same time. */
  readonly rounds: number;
}

const context = (ms = 30_000): Context => newContext(silentLogger, ms);

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PluginError ? error.code : String(error)),
  );

/** What every provider of disks must do. `make` answers a world without disks, gone when the test ends. */
export const diskProviderConformance = async (t: Test, make: (t: Test) => Promise<DiskWorld>): Promise<void> => {
  const world = async (t: Test, count = 2) => {
    const made = await make(t);
    const hosts = Array.from({ length: count }, (_, n) => made.host(n));
    const selves = [];
    for (const provider of hosts) {
      t.teardown(() => provider.close());
      selves.push(await provider.start(context()));
    }
    const [a, b] = hosts;
    if (a === undefined || b === undefined) throw new Error('a world without hosts');
    const create = (volume: string, provider = a) =>
      provider.create({ volume, size: made.size, tags: { options: '{}' } }, `token-${volume}`, context());
    return { ...made, again: made.host, a, b, selves, create };
  };

  /** Waits until the disk is in a state; providers take their time. */
  const settled = async (provider: DiskProvider, id: string, state: DiskState): Promise<Disk> => {
    for (const c = context(); !c.signal.aborted; await pause(20)) {
      const found = await provider.describe(id, c);
      if (found?.state === state) return found;
    }
    throw new Error(`${id} is not ${state}`);
  };

  /** What others have done may show later: looks until it does, and answers the last look. */
  const shown = async <T>(look: () => Promise<T>, fits: (found: T) => boolean): Promise<T> => {
    for (const c = context(10_000); ; await pause(20)) {
      const found = await look();
      if (fits(found) || c.signal.aborted) return found;
    }
  };

  /** So many disks as a host lists them. */
  const listed = (host: DiskProvider, count: number, volume?: string): Promise<readonly Disk[]> =>
    shown(
      () => host.list(context(), volume),
      ({ length }) => length === count,
    );

  const heldBy = (host: DiskProvider, id: string, holder: string | undefined): Promise<Disk | undefined> =>
    shown(
      () => host.describe(id, context()),
      (found) => found?.holder?.id === holder,
    );

  /** Was on a host once: there are clouds that copy no disk that never was. */
  const used = async (host: DiskProvider, id: string, self: string | undefined): Promise<Disk> => {
    await settled(host, id, 'available');
    await host.attach(id, context());
    await settled(host, id, 'attached');
    await host.detach(id, self ?? '', context());
    return settled(host, id, 'available');
  };

  await t.test('a disk that is made is listed on every host, with its tags, and held by none', async (t) => {
    const { a, b, create, size } = await world(t);
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
      const { a, b, create } = await world(t);
      const made = await Promise.all([create('data', a), create('data', b), create('data', a), create('data', b)]);
      t.equal(new Set(made.map(({ id }) => id)).size, 1);
      t.equal((await create('data')).id, made[0]?.id);
      t.equal((await listed(b, 1)).length, 1);
    },
  );

  await t.test('who it belongs to after a restart is known, and the host is the same', async (t) => {
    const { a, b, create, selves, again } = await world(t);
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
      const { a, b, create, devices, selves } = await world(t);
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
      const { a, b, create, selves } = await world(t);
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
    const { a, b, create, selves, rounds } = await world(t);
    const { id } = await create('data');
    const wins = [0, 0];
    const wrong: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const answers = await Promise.all([a, b].map((host) => codeOf(host.attach(id, context()))));
      const winners = answers.flatMap((answer, n) => (answer === 'none' ? [n] : []));
      const [winner] = winners;
      const holder = (await settled(a, id, 'attached')).holder?.id;
      if (winners.length !== 1 || winner === undefined || selves[winner]?.id !== holder) {
        wrong.push(`round ${round}: ${answers.join(', ')}; held by ${holder}`);
        break;
      }
      if (answers.some((answer) => answer !== 'none' && answer !== 'VOLUME_BUSY')) wrong.push(answers.join(', '));
      wins[winner] = (wins[winner] ?? 0) + 1;
      await [a, b][winner]?.detach(id, holder ?? '', context());
      for (const host of [a, b]) await settled(host, id, 'available');
    }
    t.same(wrong, []);
    t.equal((wins[0] ?? 0) + (wins[1] ?? 0), rounds, `${wins.join(' : ')}`);
  });

  await t.test('tags are added, changed and taken away, for every host to see', async (t) => {
    const { a, b, create } = await world(t);
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

  await t.test('a disk is removed once, and not while somebody has it', async (t) => {
    const { a, b, create, selves } = await world(t);
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

  /** Waits until a snapshot is ready; providers take their time. */
  const ready = async (provider: DiskProvider, id: string): Promise<Snapshot> => {
    for (const c = context(); !c.signal.aborted; await pause(20)) {
      const found = await provider.describeSnapshot(id, c);
      if (found?.state === 'ready') return found;
      if (found?.state === 'failed') break;
    }
    throw new Error(`${id} is not ready`);
  };

  /** Waits until a disk is at least this large. */
  const grown = async (provider: DiskProvider, id: string, bytes: number): Promise<Disk> => {
    for (const c = context(); !c.signal.aborted; await pause(20)) {
      const found = await provider.describe(id, c);
      if (found !== undefined && found.size >= bytes) return found;
    }
    throw new Error(`${id} has not grown to ${bytes} bytes`);
  };

  await t.test('the disks of one volume are listed by its name, those of several generations all', async (t) => {
    const { a, b, create, size } = await world(t);
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
    if (!devices) return;
    const device = (await a.device(disk, context())) ?? '';
    await a.resize(id, size + 2 * growth, context());
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
      const { a, b, create, selves } = await world(t);
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
        (found) => found?.tags.formatted !== undefined,
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
    const { a, b, create, growth, selves } = await world(t);
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

  await t.test('what was on an attached disk when a snapshot was begun is on the disks made from it', async (t) => {
    const { a, create, devices } = await world(t);
    if (!devices) return;
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

  await t.test('a disk that is released is no volume’s, is found by its name, and can be adopted', async (t) => {
    const { a, b, create, selves } = await world(t);
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
};
