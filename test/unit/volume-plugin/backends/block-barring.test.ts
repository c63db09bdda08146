import { readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import t from 'tap';
import { now } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { barDisk, unbarDisk } from '../../../../volume-plugin/block/barring.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { removersOf, removingTag } from '../../../../volume-plugin/block/removers.ts';
import { codeOf, context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { boundTo, cluster } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const REMOVED_BY_A = /^VOLUME_REMOVING: Volume data is being removed by host host-0/;

/** Two hosts, and a volume of which a snapshot is to be kept; `before` is on it. */
const scene = async (t: Test) => {
  const hosts = await cluster(t);
  const { a, b, again } = hosts;
  const volume = await a.create('data', { size: '16m', 'on-remove': 'snapshot' });
  const write = async (host: typeof a, text: string): Promise<void> => {
    await host.mount(volume);
    writeFileSync(host.inside('data', text), text);
    await host.leave(volume);
  };
  await write(a, 'before');
  const id = volume.handle.disk ?? '';
  const tags = async () => (await a.provider.describe(id, context()))?.tags ?? {};
  /** A host whose provider does some things otherwise. */
  const odd = (n: number, change: (provider: DiskProvider) => Partial<DiskProvider>) =>
    again(n, { wrap: (provider) => ({ ...boundTo(provider), ...change(boundTo(provider)) }) });
  const killed = () => odd(0, () => ({ remove: () => Promise.reject(new Error('killed')) }));
  return { ...{ a, b, volume, id, write, tags, odd, killed } };
};

t.test(
  'while the snapshot of a removal is written no other host can have the volume, and is told who removes it',
  async (t) => {
    const { b, volume, odd, tags } = await scene(t);
    const written = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const slow = await odd(0, (provider) => ({
      describeSnapshot: async (id, c) => {
        begun.resolve();
        await written.promise;
        return await provider.describeSnapshot(id, c);
      },
    }));
    const removal = slow.remove(volume);
    await begun.promise;
    t.match(await messageOf(b.mount(volume)), REMOVED_BY_A);
    t.match(await messageOf(b.create('data', volume.options)), REMOVED_BY_A, 'nor is it what somebody makes now');
    t.match(await messageOf(b.resize(volume, '32m')), /host host-0 removes it/);
    t.same(
      Object.keys(await tags()).filter((tag) => tag.startsWith('removing')),
      ['removing-host-id-0'],
    );
    written.resolve();
    await removal;
    t.equal(await b.find('data'), undefined);
    t.equal((await b.snapshots('data')).length, 1);
  },
);

t.test('a host that attaches while another one begins to remove looks again, and lets go', async (t) => {
  const { a, volume, id, odd, tags } = await scene(t);
  const late = await odd(1, (provider) => ({
    attach: async (disk, c) => {
      await a.provider.tag(disk, removingTag({ id: 'host-id-0', name: 'host-0' }, 'r'), c);
      await provider.attach(disk, c);
    },
  }));
  t.match(await messageOf(late.mount(volume)), REMOVED_BY_A);
  t.equal((await a.provider.describe(id, context()))?.holder, undefined);
  t.equal(removersOf(await tags()).length, 1, 'what another host says is not taken away');
});

t.test('a host that begins to remove while another one has just attached takes it back', async (t) => {
  const { b, volume, id, odd, tags } = await scene(t);
  const slow = await odd(0, (provider) => ({
    tag: async (disk, change, c) => {
      await b.provider.attach(disk, c);
      await provider.tag(disk, change, c);
    },
  }));
  t.match(await messageOf(slow.remove(volume)), /^VOLUME_BUSY: .*host-1/);
  t.same(removersOf(await tags()), []);
  t.same(await b.snapshots('data'), [], 'nothing was begun');
  await b.mount(volume);
  t.equal(readFileSync(b.inside('data', 'before'), 'utf8'), 'before');
  await b.leave(volume);
  t.ok(await b.provider.describe(id, context()));
});

t.test('the disk is looked at again when the snapshot is there: who has it by then keeps it', async (t) => {
  const { b, volume, odd, id, tags } = await scene(t);
  const slow = await odd(0, (provider) => ({
    describeSnapshot: async (snapshot, c) => {
      const found = await provider.describeSnapshot(snapshot, c);
      // By other means than ours.
      if (found?.state === 'ready') await b.provider.attach(id, c);
      return found;
    },
    remove: () => Promise.reject(new Error('a cloud detaches what it removes')),
  }));
  t.match(await messageOf(slow.remove(volume)), /^VOLUME_BUSY: .*host-1/);
  t.same(removersOf(await tags()), []);
  await b.leave(volume);
});

t.test('a removal that is refused for good gives the volume back to every host', async (t) => {
  const { b, volume, odd, tags, write } = await scene(t);
  const refused = await odd(0, () => ({
    snapshot: () => Promise.reject(new PluginError('BACKEND_PERMISSION', { provider: 'loop', permission: 'p' })),
  }));
  t.equal(await codeOf(refused.remove(volume)), 'BACKEND_PERMISSION');
  t.same(removersOf(await tags()), []);
  await write(b, 'after');
});

t.test('what could not be taken back is by the next mount on that host', async (t) => {
  const { a, volume, tags, id, write } = await scene(t);
  await a.provider.tag(id, removingTag({ id: 'host-id-0', name: 'host-0' }, 'r'), context());
  await write(a, 'after');
  t.same(removersOf(await tags()), []);
  await a.remove(volume);
});

t.test(
  'a removal whose host died is gone on with by docker volume rm on another one, with the same snapshot',
  async (t) => {
    const { b, volume, killed, tags } = await scene(t);
    const dying = await killed();
    await t.rejects(dying.backend.remove({ ...volume, removal: 'first-removal' }, context()), { message: 'killed' });
    t.equal(removersOf(await tags()).length, 1);
    t.match(await messageOf(b.mount(volume)), REMOVED_BY_A);
    await b.backend.remove({ ...volume, removal: 'second-removal' }, context());
    t.equal(await b.find('data'), undefined);
    t.equal((await b.snapshots('data')).length, 1);
  },
);

t.test('a removal whose host died is ended by fence: it does not go on should that host come back', async (t) => {
  const { a, b, volume, killed, write, tags } = await scene(t);
  const dying = await killed();
  const removal = { ...volume, removal: 'first-removal' };
  await t.rejects(dying.backend.remove(removal, context()), { message: 'killed' });
  await b.backend.fence(volume, 'host-9', context());
  t.match(await messageOf(b.mount(volume)), REMOVED_BY_A, 'nobody of that name removes it');
  await b.backend.fence(volume, 'host-0', context());
  await write(b, 'after');
  t.match(
    await messageOf(a.backend.remove({ ...removal, resumed: true }, context())),
    /^BACKEND_REFUSED: .*ended from another host with drayage volume fence/,
  );
  t.same(
    Object.keys(await tags()).filter((tag) => tag.startsWith('removing')),
    [],
  );
  // Asked for anew it is another removal, with a snapshot of its own.
  await a.backend.remove({ ...volume, removal: 'second-removal' }, context());
  const last = (await a.snapshots('data')).toSorted((x, y) => x.created.localeCompare(y.created)).at(-1);
  const back = await a.create('back', { from: last?.id ?? '' });
  await a.mount(back);
  t.equal(readFileSync(a.inside('back', 'after'), 'utf8'), 'after');
  await a.leave(back);
});

t.test('where what was written shows late the disk is looked at when everybody sees who removes it', async (t) => {
  const { a, id, tags } = await scene(t);
  const times = { tag: 0, look: 0 };
  const { isPrompt: _, ...bound } = boundTo(a.provider);
  const provider: DiskProvider = {
    ...bound,
    tag: async (...given) => {
      times.tag = now();
      await bound.tag(...given);
    },
    describe: async (...given) => {
      times.look = now();
      return await bound.describe(...given);
    },
  };
  const parts = { provider, self: () => ({ id: 'host-id-0', name: 'host-0' }), settleMs: 150 };
  const disk = await a.provider.describe(id, context());
  if (disk === undefined) throw new Error('no disk');
  t.match(await barDisk(parts, disk, { removal: 'one' }, context()), { removal: 'one' });
  t.ok(times.look - times.tag >= 149, `${times.look - times.tag} ms`);
  await unbarDisk(parts, disk, context());
  t.same(removersOf(await tags()), []);
});
