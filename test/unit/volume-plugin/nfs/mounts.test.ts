// Shares that are mounted once and volumes that are bound from them, with real mounts of a made-up server.
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { codeOf, context, inOwnMounts, messageOf, run } from '../block/scratch.ts';
import { madeUpShares, share, workers } from './made-up-server.ts';

inOwnMounts(import.meta.filename);

const until = async (what: () => boolean): Promise<void> => {
  for (const end = performance.now() + 10_000; !what() && performance.now() < end; ) await sleep(10);
};

const TRAITS = { uid: 0, gid: 0, mode: 0o755 };
const flags = (target: string): readonly string[] => mountAt(readMountTable(), target)?.options ?? [];

t.test('a share is mounted once for all who ask at once, and for each way of mounting it', async (t) => {
  const { host, server } = madeUpShares(t, '/a', '/b');
  const { mounts, mounted, ensure } = host(1);
  const all = await Promise.all([ensure('/a'), ensure('/a'), ensure('/b'), ensure('/a')]);
  t.equal(all[0], all[1]);
  t.equal(await ensure('/a'), all[0]);
  t.same([...mounted].sort(), ['server:/a', 'server:/b']);
  const other = await mounts.ensure(share('/a'), { options: { rsize: '65536' }, readonly: false }, context());
  t.not(other.files, all[0]?.files);
  t.same(server.looks.length, 3, 'each mount after a look at the server');
  t.match(all[0], { version: '4.2', source: 'server:/a', readonly: false });
});

t.test('a volume is a folder of the share, also for another host, and readonly when that is asked for', async (t) => {
  const { host, onServer } = madeUpShares(t, '/a');
  const [one, other] = [host(1), host(2)];
  const [here, there] = [await one.ensure('/a'), await other.ensure('/a')];
  await here.files.makeFolder('.drayage/volumes/v', TRAITS, context());
  const [target, elsewhere] = [one.target('v'), other.target('v')];
  const bound = await one.mounts.bind(here, '.drayage/volumes/v', target, false, context());
  t.same(bound, { source: 'server:/a', device: here.device });
  await other.mounts.bind(there, '.drayage/volumes/v', elsewhere, true, context());
  writeFileSync(join(target, 'file'), 'x');
  t.equal(readFileSync(join(elsewhere, 'file'), 'utf8'), 'x');
  t.throws(() => writeFileSync(join(elsewhere, 'file'), 'y'), { code: 'EROFS' });
  t.ok(existsSync(onServer('/a', '.drayage/volumes/v/file')));
  t.ok(flags(elsewhere).includes('nodev'), 'devices that others make there are no devices here');
});

t.test('a volume that is bound already is verified; what else is there is not handed out', async (t) => {
  const { host } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1);
  const mounted = await ensure('/a');
  for (const name of ['v', 'w']) await mounted.files.makeFolder(`.drayage/volumes/${name}`, TRAITS, context());
  const bind = (name: string, at: string, readonly = false) =>
    mounts.bind(mounted, `.drayage/volumes/${name}`, target(at), readonly, context());
  await bind('v', 'v');
  await bind('v', 'v');
  t.equal(readMountTable().filter((entry) => entry.target === target('v')).length, 1);
  await bind('v', 'v', true);
  t.ok(flags(target('v')).includes('ro'));
  await bind('v', 'v');
  t.ok(flags(target('v')).includes('rw'));
  t.equal(await codeOf(bind('w', 'v')), 'VOLUME_NOT_MOUNTED');
  await mounts.unbind(target('v'), context());
  t.equal(mountAt(readMountTable(), target('v')), undefined);
  await mounts.unbind(target('v'), context());
});

t.test('what the share may not do, no volume of it may, readonly or not', async (t) => {
  const { host, folder } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1);
  const mounted = await ensure('/a');
  await mounted.files.makeFolder('v', TRAITS, context());
  const at = readMountTable().find((one) => one.target.startsWith(join(folder, 'shares-1/')))?.target ?? '';
  run('mount', '-o', 'remount,bind,nosuid,noexec,noatime', at);
  for (const readonly of [false, true]) {
    await mounts.bind(mounted, 'v', target('v'), readonly, context());
    const found = flags(target('v'));
    t.same(
      ['nosuid', 'noexec', 'noatime'].filter((one) => !found.includes(one)),
      [],
      `readonly=${readonly}: ${found}`,
    );
  }
});

t.test('what nobody waits for any more is not mounted when the server lets its process go on', async (t) => {
  const { host } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1);
  const mounted = await ensure('/a');
  await mounted.files.makeFolder('v', TRAITS, context());
  for (const readonly of [false, true]) {
    const [process_ = 0] = workers();
    process.kill(process_, 'SIGSTOP');
    t.equal(await codeOf(mounts.bind(mounted, 'v', target('v'), readonly, context(300))), 'DEADLINE');
    process.kill(process_, 'SIGCONT');
    t.equal(await mounted.files.hasFolder('v', context()), true, 'it goes on');
    t.equal(mountAt(readMountTable(), target('v')), undefined);
  }
  await mounts.bind(mounted, 'v', target('v'), true, context());
});

t.test('a folder whose name only ends like the wanted one is not handed out', async (t) => {
  const { host } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1);
  const mounted = await ensure('/a');
  for (const name of ['old', 'data', 'olddata', 'old/data']) await mounted.files.makeFolder(name, TRAITS, context());
  const bind = (folder: string) => mounts.bind(mounted, folder, target('v'), false, context());
  for (const there of ['olddata', 'old/data']) {
    await bind(there);
    for (const folder of ['data', '', 'old']) t.equal(await codeOf(bind(folder)), 'VOLUME_NOT_MOUNTED', folder);
    await bind(there);
    await mounts.unbind(target('v'), context());
  }
});

t.test('a folder that is not there, or is a symbolic link by now, is not mounted', async (t) => {
  const { host, onServer } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1);
  const mounted = await ensure('/a');
  const bind = (folder: string) => mounts.bind(mounted, folder, target('v'), false, context());
  t.match(await messageOf(bind('x/y')), 'SHARE_MISSING: The share server:/a/x/y does not exist');
  symlinkSync('/etc', onServer('/a', 'etc'));
  t.equal(await codeOf(bind('etc')), 'BACKEND_REFUSED');
  mkdirSync(onServer('/a', 'real'));
  writeFileSync(onServer('/a', 'real/file'), '');
  t.equal(await codeOf(bind('real/file')), 'BACKEND_REFUSED');
  t.equal(mountAt(readMountTable(), target('v')), undefined);
  await bind('');
  t.ok(existsSync(join(target('v'), 'real')), 'all of a share can be mounted, too');
});

t.test('a server that is gone is told of in seconds, with the time, and holds up no other', async (t) => {
  const { host, server } = madeUpShares(t, '/a', '/b');
  const { mounts, ensure, target } = host(1, { freshMs: 0, everyMs: 50 });
  const mounted = await ensure('/a');
  await mounted.files.makeFolder('v', TRAITS, context());
  t.match(mounts.health('server:/a'), { answering: true });
  t.equal(mounts.health('server:/b'), undefined);
  server.silent = true;
  await until(() => mounts.health('server:/a')?.answering === false);
  const since = mounts.health('server:/a')?.since ?? 0;
  t.ok(Math.abs(Date.now() - since) < 60_000);
  t.match(await messageOf(ensure('/a')), `does not answer since ${new Date(since).toISOString()}`);
  t.equal(await codeOf(mounts.bind(mounted, 'v', target('v'), false, context())), 'SHARE_SILENT');
  t.equal(await codeOf(ensure('/b')), 'SHARE_SILENT');
  t.equal(mounts.health('server:/b'), undefined, 'nobody keeps asking a server that nothing is mounted of');
  server.silent = false;
  await until(() => mounts.health('server:/a')?.answering === true);
  t.equal(await ensure('/a'), mounted, 'it goes on with the same mount');
  await mounts.bind(mounted, 'v', target('v'), false, context());
  await mounts.close();
  const { pings } = server;
  await sleep(150);
  t.equal(server.pings, pings, 'closed, it asks nobody any more');
});

t.test('a volume that somebody has a file of open stays, unless its server is gone', async (t) => {
  const { host, server } = madeUpShares(t, '/a');
  const { mounts, ensure, target } = host(1, { freshMs: 0 });
  const mounted = await ensure('/a');
  await mounted.files.makeFolder('v', TRAITS, context());
  await mounts.bind(mounted, 'v', target('v'), false, context());
  const before = process.cwd();
  process.chdir(target('v'));
  t.teardown(() => process.chdir(before));
  t.equal(await codeOf(mounts.unbind(target('v'), context())), 'VOLUME_IN_USE');
  server.silent = true;
  await mounts.unbind(target('v'), context());
  t.equal(mountAt(readMountTable(), target('v')), undefined);
});

t.test(
  'a share that nothing is bound from is unmounted after a while, and mounted again for whoever comes',
  async (t) => {
    const { host } = madeUpShares(t, '/a');
    const { mounts, mounted, ensure } = host(1, { keepMs: 50 });
    const first = await ensure('/a');
    await first.files.makeFolder('v', TRAITS, context());
    // The export's own mount is there, too, in this test; to a host it would be a volume's.
    const shares = () => readMountTable().filter(({ target }) => target.includes('/shares-1/'));
    mounts.release('server:/a');
    await sleep(300);
    t.equal(shares().length, 1, 'with a volume it stays');
    t.equal(await ensure('/a'), first);
    run('umount', '-l', shares()[0]?.target ?? '');
    const second = await ensure('/a');
    t.not(second, first, 'one that somebody has unmounted is mounted anew');
    t.equal(mounted.length, 2);
    t.equal(await codeOf(first.files.names('', context())), 'SHARE_SILENT');
    t.same(await second.files.names('', context()), ['v']);
  },
);

t.test('what an earlier life has mounted is found again', async (t) => {
  const { host } = madeUpShares(t, '/a');
  const first = host(1);
  const before = await first.ensure('/a');
  await before.files.makeFolder('v', TRAITS, context());
  await first.mounts.bind(before, 'v', first.target('v'), false, context());
  await first.mounts.close();
  const second = host(1);
  const after = await second.ensure('/a');
  t.same([second.mounted, after.device], [[], before.device]);
  await second.mounts.bind(after, 'v', second.target('v'), false, context());
  t.equal(readMountTable().filter(({ target }) => target === second.target('v')).length, 1);
  await second.mounts.close();
  await until(() => workers().length === 0);
  t.same(workers(), [], 'closed, nothing works on its files any more');
});
