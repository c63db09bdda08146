import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { codeOf, context, inOwnMounts, MIB, messageOf } from '../block/scratch.ts';
import { cluster, imageNamed, imageOf } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('a volume whose making was cut off half way is made by the same call', async (t) => {
  const { a, b, disks } = await cluster(t);
  const volume = await a.create('data');
  rmSync(imageNamed(disks, volume));
  t.match(await a.find('data'), { whereabouts: 'creating' });
  t.equal(await codeOf(b.create('data', { size: '32m' })), 'VOLUME_EXISTS');
  t.same((await b.create('data')).handle, volume.handle);
  await b.mount(volume);
  await b.leave(volume);
});

t.test('options that files have not are refused before there is a disk; tags of one’s own are kept', async (t) => {
  const { a, disks } = await cluster(t);
  for (const options of [
    { kind: 'gp3' },
    { iops: '3000' },
    { throughput: '125' },
    { encrypted: 'true' },
    { 'kms-key': 'k' },
  ]) {
    t.match(await messageOf(a.create('data', options)), /^OPTION_INVALID: .* disks in files \(PROVIDER=loop\) have no/);
  }
  for (const tags of ['x', 'a=1,a=2', 'Name=x', 'aws:x=1', 'drayage:volume=x', '=1', 'a=1,']) {
    t.equal(await codeOf(a.create('data', { tags })), 'OPTION_INVALID', tags);
  }
  t.same(readdirSync(disks), []);
  await a.create('data', { size: '16m', tags: 'team=web,stage=a=b', encrypted: 'false' });
  const [description] = readdirSync(disks).filter((name) => name.endsWith('.json'));
  t.match(JSON.parse(readFileSync(join(disks, description ?? ''), 'utf8')), { labels: { team: 'web', stage: 'a=b' } });
});

t.test('hosts that make a volume at once make one, also when the first tokens are burned', async (t) => {
  const { a, b } = await cluster(t);
  const first = await a.create('data');
  await a.provider.release(first.handle.disk ?? '', context());
  const made = await Promise.all([a.create('data', { size: '16m' }, 'one'), b.create('data', { size: '16m' }, 'two')]);
  t.equal(new Set(made.map(({ handle }) => handle.disk)).size, 1);
  t.equal((await a.provider.list(context())).length, 1);
});
t.test('a disk that a later generation has replaced is never mounted again', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  await a.leave(volume);
  const tags = { options: '{"size":"16m"}', generation: '2' };
  const next = await a.provider.create({ volume: 'data', size: 16 * MIB, tags }, 'second', context());
  t.equal((await b.find('data'))?.handle.disk, next.id);
  t.equal((await b.backend.list(context())).length, 1, 'it is one volume');
  // By a handle from before, too.
  const mounted = await a.mount(volume);
  t.match(imageOf(a.target('data')), new RegExp(`${next.id}`));
  t.equal(mounted.inside, 'data');
  await a.leave(volume);
  await a.remove(volume);
  t.equal(await b.find('data'), undefined, 'with the volume go all of them');
  t.same(await a.provider.list(context()), []);
});

t.test('how full a volume is shows a moment after it is mounted, and looking waits for nothing', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data', { size: '32m' });
  await a.mount(volume);
  const file = openSync(a.inside('data', 'file'), 'w');
  writeFileSync(file, Buffer.alloc(4 * MIB));
  fsyncSync(file);
  closeSync(file);
  for (let n = 0; n < 100 && a.backend.status(volume, a.target('data')).used === undefined; n += 1) await pause(10);
  const { used, free } = a.backend.status(volume, a.target('data'));
  t.ok(Number(used) > 0 && Number(free) > 10 * MIB, `${used} used, ${free} free`);
  t.equal(a.backend.status(volume).used, undefined, 'mounted nowhere, nothing is known');
  await a.leave(volume);
});

t.test('a volume is not formatted again though the tag that says it was does not show', async (t) => {
  const { a, b } = await cluster(t);
  for (const fs of ['ext4', 'btrfs']) {
    const volume = await a.create(fs, { size: fs === 'ext4' ? '16m' : '128m', fs });
    await a.mount(volume);
    writeFileSync(a.inside(fs, 'row'), 'written');
    await a.leave(volume);
    await a.provider.tag(volume.handle.disk ?? '', { formatted: undefined }, context());
    await b.mount(volume);
    t.equal(readFileSync(b.inside(fs, 'row'), 'utf8'), 'written');
    t.match(await b.provider.describe(volume.handle.disk ?? '', context()), { tags: { formatted: fs } });
    await b.leave(volume);
  }
});

t.test('what a crash has left mounted while a copy was renamed is not taken for the volume', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  await a.provider.tag(volume.handle.disk ?? '', { clone: 'yes' }, context());
  await a.mount(volume);
  t.match(await a.provider.describe(volume.handle.disk ?? '', context()), { tags: { clone: undefined } });
  await a.leave(volume);
});

t.test('a volume tells which making it is of until it is used, or until another making has it', async (t) => {
  const { a, b } = await cluster(t);
  const origin = (making: string): string => a.backend.origin('data', making);
  t.not(origin('first'), origin('second'));
  const volume = await a.create('data', undefined, 'first');
  t.equal((await b.find('data'))?.origin, origin('first'));
  await b.create('data', undefined, 'second');
  t.equal((await a.find('data'))?.origin, origin('second'), 'it is not removed with the first making any more');
  await a.mount(volume);
  t.equal((await b.find('data'))?.origin, undefined);
  await a.leave(volume);
  t.equal((await b.find('data'))?.origin, undefined, 'nor does what was used go back to being of a making');
});

t.test('what is discarded of a making is its own unused disk, and nobody else’s of that name', async (t) => {
  const { a, b } = await cluster(t);
  const theirs = await b.create('data', undefined, 'theirs');
  // Asked for by the other host before that, and made only now.
  const tags = { options: '{}', uuid: a.backend.origin('data', 'given up') };
  const late = await a.provider.create({ volume: 'data', size: 16 * MIB, tags }, 'late', context());
  const ids = async (): Promise<readonly string[]> =>
    (await b.provider.list(context(), 'data')).map(({ id }) => id).sort();
  t.same(await ids(), [late.id, theirs.handle['disk']].sort());
  await a.backend.discard('data', 'given up', context());
  t.same(await ids(), [theirs.handle['disk']]);
  await b.mount(theirs);
  await a.backend.discard('data', 'theirs', context());
  await b.leave(theirs);
  await a.backend.discard('data', 'theirs', context());
  t.same(await ids(), [theirs.handle['disk']], 'nor what was used');
});
