import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import { descriptionOfId } from '../../../../volume-plugin/block/loop-files.ts';
import { context, MIB, scratch } from './scratch.ts';

t.setTimeout(60_000);

/** Hosts that share a folder, and a disk in it. */
const shared = async (t: Test) => {
  const folder = scratch(t, '/dev/shm');
  const start = async (n: number): Promise<LoopProvider> => {
    const provider = new LoopProvider({ folder, self: { id: `host-id-${n}`, name: `host-${n}` }, quota: undefined });
    await provider.start(context());
    return provider;
  };
  const [a, b] = [await start(0), await start(1)];
  const { id } = await a.create({ volume: 'data', size: 16 * MIB, tags: { options: '{}' } }, 'token', context());
  return { folder, start, a, b, id, first: join(folder, descriptionOfId('loop', id) ?? '') };
};

t.test('of two hosts that write to one disk at once neither loses what the other one wrote', async (t) => {
  const { a, b, id, start } = await shared(t);
  const wanted: Record<string, string> = { options: '{}' };
  for (let round = 0; round < 100; round += 1) {
    const value = `${round}`;
    Object.assign(wanted, { 'from-a': value, 'from-b': value, [`once-${round % 7}`]: value });
    await Promise.all([
      a.tag(id, { 'from-a': value, [`once-${round % 7}`]: value, gone: 'yes' }, context()),
      b.tag(id, { 'from-b': value }, context()),
    ]);
    await Promise.all([a.tag(id, { gone: undefined }, context()), b.resize(id, (17 + round) * MIB, context())]);
    for (const host of [a, b]) {
      const { tags, size } = (await host.describe(id, context())) ?? {};
      t.same({ tags, size }, { tags: wanted, size: (17 + round) * MIB }, `round ${round}`, { bail: true });
    }
  }
  const late = await start(2);
  t.same((await late.describe(id, context()))?.tags, wanted, 'a host that has seen nothing of it finds the last one');
  t.same((await late.list(context()))[0]?.tags, wanted);
});

t.test('a disk that an earlier version has described and changed is read, changed and removed', async (t) => {
  const { a, b, id, first, folder } = await shared(t);
  const described = JSON.parse(readFileSync(first, 'utf8'));
  writeFileSync(first, JSON.stringify({ ...described, tags: { options: '{}', formatted: 'ext4' } }));
  t.same((await b.describe(id, context()))?.tags, { options: '{}', formatted: 'ext4' });
  await b.tag(id, { formatted: undefined, epoch: '1' }, context());
  t.same((await a.describe(id, context()))?.tags, { options: '{}', epoch: '1' });
  await a.tag(id, { epoch: '1' }, context());
  t.equal(readdirSync(folder).filter((name) => name.includes('change-')).length, 1, 'the same again is no change');
  await a.remove(id, context());
  t.same(readdirSync(folder), []);
  t.equal(await b.describe(id, context()), undefined);
});

t.test(
  'a disk that was let go is nobody’s for every host, and takes nothing along when it is taken back',
  async (t) => {
    const { a, b, id, folder } = await shared(t);
    await b.tag(id, { epoch: '4' }, context());
    await a.release(id, context());
    t.equal(await b.describe(id, context()), undefined);
    const back = await b.adopt(id, 'again', { imported: id }, context());
    t.same((await a.describe(back.id, context()))?.tags, { imported: id });
    t.same(
      readdirSync(folder).filter((name) => name.startsWith(id)),
      [],
    );
  },
);

t.test('a change of a disk that was removed meanwhile describes nothing, and goes when it is old', async (t) => {
  const { a, b, id, folder, start } = await shared(t);
  await b.tag(id, { epoch: '1' }, context());
  await a.remove(id, context());
  const stray = join(folder, `${id}.change-2`);
  writeFileSync(stray, JSON.stringify({ id, volume: 'data', size: 1, tags: {}, created: '' }));
  t.same(await b.list(context()), []);
  await start(1);
  t.ok(existsSync(stray), 'it may be written just now');
  utimesSync(stray, 1, 1);
  await start(1);
  t.same(readdirSync(folder), []);
});
