import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { codeOf, context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { SHARE, shareCluster, until } from './nfs-cluster.ts';

// With real files and bind mounts; the servers are folders.
inOwnMounts(import.meta.filename);

// Timers of the plugin do not keep a process alive.
const alive = setInterval(() => undefined, 1_000);
t.teardown(() => clearInterval(alive));

const ALONE = { access: 'single-writer' } as const;

t.test('a volume of one writer is on one host at a time, and goes on to the next', async (t) => {
  const { host } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('db', ALONE);
  const first = await a.mount(volume);
  t.equal(first.epoch, 1);
  t.match(a.mounts.mounted.at(-1), /"softerr":true/, 'what was not written in time fails');
  t.match(await messageOf(b.mount(volume)), /VOLUME_BUSY: .*db.*host-0/);
  t.match(a.backend.status(volume, a.target('db')), { access: 'single-writer', leaseHolder: 'host-0', epoch: 1 });
  await a.leave(volume);
  t.equal((await b.mount(volume)).epoch, 2);
  t.equal(a.lost.length, 0);
  t.match(await messageOf(a.remove(volume)), /VOLUME_BUSY/);
  await b.leave(volume);
  await a.remove(volume);
  t.same(await b.list(), []);
});

t.test('who cannot reach the share is cut off before another host gets the volume', async (t) => {
  const { host, servers } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('db', ALONE);
  const { epoch } = await a.mount(volume);
  servers.cut.add(`host-0 ${SHARE}`);
  const taken = b.mount(volume);
  await until(() => a.killed.length > 0);
  t.same(a.killed, [a.target('db')]);
  t.same(a.lost, ['db']);
  t.match(a.backend.lost('db'), /could not be renewed/);
  t.equal((await taken).epoch, (epoch ?? 0) + 1);
  servers.cut.clear();
  await a.leave(volume);
  t.equal(a.backend.lost('db'), undefined);
  t.match(await messageOf(a.mount(volume)), /VOLUME_BUSY: .*host-1/);
  await b.leave(volume);
});

t.test('a plugin that is started again keeps what it has mounted; one that comes too late loses it', async (t) => {
  const { host, servers } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('db', ALONE);
  await a.mount(volume);
  await a.backend.close();
  const again = await host(0);
  again.backend.resume(volume, { target: again.target('db'), source: 'local', device: '0:0' });
  await until(() => again.backend.status(volume)['epoch'] === 2);
  t.match(again.backend.status(volume), { leaseHolder: 'host-0', epoch: 2 });
  t.same(again.lost, []);
  await again.backend.close();
  servers.silent.add(SHARE);
  const late = await host(0);
  late.backend.resume(volume, { target: late.target('db'), source: 'local', device: '0:0' });
  await until(() => late.lost.length > 0);
  t.same(late.lost, ['db']);
  t.same(late.killed, [late.target('db')]);
  t.match(late.backend.lost('db'), /could not be reached/);
  servers.silent.clear();
  await late.leave(volume);
  t.equal(late.backend.lost('db'), undefined);
});

t.test('an operator takes a volume from a host that is dead, by its name', async (t) => {
  const { host, folder } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const shared = await a.create('assets');
  await a.mount(shared);
  const fence = (name: string, what = shared) => b.backend.fence(what, name, context());
  t.match(await messageOf(fence('host-7')), /VOLUME_BUSY: .*host-0.*not on host-7/);
  t.equal(await codeOf(a.backend.fence(shared, 'host-0', context())), 'VOLUME_IN_USE');
  await fence('host-0');
  await b.remove(shared);
  await a.unmount(shared);
  const single = await a.create('db', ALONE);
  await a.mount(single);
  t.match(await messageOf(fence('host-0', single)), /VOLUME_BUSY: .*that host runs/);
  await a.backend.close();
  // So long nobody has looked that what was seen before counts no more.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await fence('host-0', single);
  t.equal((await b.mount(single)).epoch, 3);
  await a.unmount(single);
  await b.leave(single);
  await b.remove(single);
  t.notOk(existsSync(join(folder, 'servers', SHARE.replaceAll('/', '_'), '.drayage/leases/db.3.json')));
});
