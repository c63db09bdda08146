// Hosts that are at work with one volume at once, with each of them stopped where it hurts; the servers are folders.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import { codeOf, inOwnMounts, messageOf } from '../block/scratch.ts';
import { SHARE, shareCluster, until } from './nfs-cluster.ts';

inOwnMounts(import.meta.filename);

const scene = async (t: Test) => {
  const cluster = await shareCluster(t);
  const { servers, host, root } = cluster;
  const [a, b] = [await host(0), await host(1)];
  /** Before the first host does this for the first time, the work is done. */
  const before = (what: string, work: () => Promise<unknown>): void => {
    servers.onFile = async (now, by) => {
      if (by !== 'host-0' || !now.startsWith(what)) return;
      servers.onFile = () => undefined;
      await work();
    };
  };
  const inside = (name: string, file = ''): string => join(root, '.drayage/volumes', name, file);
  const entries = (folder: string): readonly string[] =>
    existsSync(join(root, '.drayage', folder)) ? readdirSync(join(root, '.drayage', folder)).sort() : [];
  return { ...cluster, a, b, before, inside, entries };
};

const DATA = '.drayage/volumes/data';

t.test('a removal that is late takes no folder of a volume that was made anew meanwhile', async (t) => {
  const { a, b, before, inside, entries } = await scene(t);
  const volume = await a.create('data');
  let next = volume;
  before(`move ${DATA} `, async () => {
    await b.remove(volume);
    next = await b.create('data', { uid: '7' });
    writeFileSync(inside('data', 'file'), 'precious');
    before('readFile', async () => {
      // Whoever looks at the share now must not take what is not where it belongs for removed.
      await b.list();
      await until(() => entries('trash').length === 0);
    });
  });
  await a.remove(volume);
  t.equal(readFileSync(inside('data', 'file'), 'utf8'), 'precious');
  t.equal((await a.find('data'))?.handle['uuid'], next.handle['uuid']);
  t.same([...entries('removing'), ...entries('trash')], []);
});

t.test('a removal that is late takes no record of a volume that was made anew meanwhile', async (t) => {
  const { a, b, before, entries } = await scene(t);
  const volume = await a.create('data');
  let next = volume;
  before(`move ${DATA}.json`, async () => {
    await b.remove(volume);
    next = await b.create('data', { uid: '7' });
  });
  await a.remove(volume);
  t.not(next.handle['uuid'], volume.handle['uuid']);
  t.equal((await b.find('data'))?.handle['uuid'], next.handle['uuid']);
  t.same(entries('volumes'), ['data', 'data.json']);
  t.same(entries('removing'), []);
});

t.test('a volume is not removed that another host mounts in the same moment', async (t) => {
  const { a, b, before, inside, entries } = await scene(t);
  const volume = await a.create('data');
  before(`move ${DATA} `, async () => {
    await b.mount(volume);
    writeFileSync(b.inside('data', 'file'), 'precious');
  });
  t.match(await messageOf(a.remove(volume)), /VOLUME_BUSY: .*data.*host-1/);
  t.equal(readFileSync(inside('data', 'file'), 'utf8'), 'precious');
  t.match(await a.find('data'), { handle: volume.handle });
  t.same([...entries('removing'), ...entries('trash')], []);
  await b.leave(volume);
});

t.test('a volume is not handed out that another host removes in the same moment', async (t) => {
  const { a, b, before, entries } = await scene(t);
  const volume = await a.create('data');
  before('noteFile .drayage/users/', () => b.remove(volume));
  t.equal(await codeOf(a.mount(volume)), 'VOLUME_UNKNOWN');
  t.equal(mountAt(readMountTable(), a.target('data')), undefined);
  await a.leave(volume);
  t.same(entries('users'), []);
});

t.test('a record whose writing was answered too late leaves its volume a folder', async (t) => {
  const { a, before, host, servers, entries } = await scene(t);
  const again = await host(0);
  before(`createFile ${DATA}.json`, async () => {
    servers.onFile = (what) => {
      if (what.startsWith('move')) throw new Error('killed');
    };
    await codeOf(again.create('data', {}, 'once'));
    servers.onFile = () => undefined;
    t.same(entries('volumes'), ['data.json']);
  });
  const volume = await a.create('data', {}, 'once');
  t.same(entries('volumes'), ['data', 'data.json']);
  await a.mount(volume);
  await a.leave(volume);
});

t.test('what was removed and made anew elsewhere is not handed out as it was', async (t) => {
  const { a, b, root } = await scene(t);
  for (const folder of ['one', 'two']) mkdirSync(join(root, folder));
  const known = await b.create('data', { path: '/one' });
  await a.remove(known);
  t.equal(await codeOf(b.mount(known)), 'VOLUME_UNKNOWN', 'not even what is still there of it');
  const next = await a.create('data', { path: '/two' });
  t.match(await messageOf(b.mount(known)), /VOLUME_NOT_MOUNTED: .*data.*path=\/two, not \/one/);
  t.equal(mountAt(readMountTable(), b.target('data')), undefined);
  await b.mount(next);
  await b.leave(next);
  await a.remove(next);
  await a.create('data', { path: '/one' });
  t.equal(await codeOf(b.mount(known)), 'none', 'the same as before is the same');
  await b.leave(known);
});

t.test('a volume that cannot be limited as its maker wanted stays when somebody has begun to use it', async (t) => {
  const { host, servers, inside, entries } = await scene(t);
  let refuses = false;
  const limit = async (): Promise<void> => {
    if (refuses) throw new PluginError('BACKEND_REFUSED', { provider: 'nas', what: 'to limit it' });
  };
  const [a, b] = await Promise.all(
    [0, 1].map((n) => host(n, { provider: Object.assign(new ExportProvider([SHARE]), { limit }) })),
  );
  if (a === undefined || b === undefined) throw new Error('no hosts');
  for (const [name, isMounted] of [
    ['mounted', true],
    ['written', false],
    ['unused', undefined],
  ] as const) {
    servers.onFile = (what) => {
      if (what.startsWith('move')) throw new Error('killed');
    };
    await codeOf(a.create(name, { size: '1g' }, 'once'));
    servers.onFile = () => undefined;
    refuses = false;
    const volume = await b.create(name, { size: '1g' });
    if (isMounted === true) await b.mount(volume);
    if (isMounted === false) writeFileSync(inside(name, 'file'), 'precious');
    refuses = true;
    t.equal(await codeOf(a.create(name, { size: '1g' }, 'once')), 'BACKEND_REFUSED');
    t.equal((await b.find(name)) === undefined, isMounted === undefined, name);
    t.equal(existsSync(inside(name)), isMounted !== undefined);
    if (isMounted === true) await b.leave(volume);
  }
  t.same(entries('removing'), []);
  t.equal(readFileSync(inside('written', 'file'), 'utf8'), 'precious');
});
