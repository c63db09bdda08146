import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { ExportProvider } from '../../../../volume-plugin/nfs/export.ts';
import type { ShareProvider } from '../../../../volume-plugin/nfs/share-provider.ts';
import { codeOf, context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { SHARE, shareCluster, until } from './nfs-cluster.ts';

// With real files and bind mounts; the servers are folders.
inOwnMounts(import.meta.filename);

const OTHER = '10.0.0.6:/other';

t.test('a volume is a folder of the share, and what one host writes another one reads', async (t) => {
  const { host, root } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('assets', { uid: '1000', gid: '50', mode: '0750' });
  t.same(volume.handle['share'], SHARE);
  const { uid, gid, mode } = statSync(join(root, '.drayage/volumes/assets'));
  t.same([uid, gid, mode & 0o7777], [1000, 50, 0o750]);
  t.same(await b.list(), ['assets'], 'every host lists it');
  const found = await b.find('assets');
  t.match(found, volume);
  const mounted = await a.mount(volume);
  t.match(mounted, { inside: '', shared: true });
  t.match(mountAt(readMountTable(), a.target('assets')), { source: mounted.source, device: mounted.device });
  writeFileSync(a.inside('assets', 'x'), 'hello');
  if (found !== undefined) await b.mount(found);
  t.equal(readFileSync(b.inside('assets', 'x'), 'utf8'), 'hello');
  await a.mount(volume);
  await a.leave(volume);
  t.equal(mountAt(readMountTable(), a.target('assets')), undefined);
  t.same(readFileSync(b.inside('assets', 'x'), 'utf8'), 'hello');
  await b.leave(volume);
});

t.test('of hosts that create the same volume at once one wins and the others join', async (t) => {
  const { host, root } = await shareCluster(t);
  const hosts = await Promise.all([0, 1, 2, 3].map((n) => host(n)));
  const made = await Promise.all(hosts.map((one, n) => one.create('data', { mode: '0700' }, `making ${n}`)));
  t.equal(new Set(made.map(({ handle }) => handle['uuid'])).size, 1);
  t.same(readdirSync(join(root, '.drayage/volumes')).sort(), ['data', 'data.json']);
  for (let round = 0; round < 5; round += 1) {
    const name = `web${round}`;
    const codes = await Promise.all(hosts.map((one, n) => codeOf(one.create(name, { uid: String(n) }))));
    t.same([...codes].sort(), ['VOLUME_EXISTS', 'VOLUME_EXISTS', 'VOLUME_EXISTS', 'none']);
    t.equal(statSync(join(root, '.drayage/volumes', name)).uid, codes.indexOf('none'), 'as its maker wanted it');
  }
  t.same(readdirSync(join(root, '.drayage/making')), []);
  t.match(await messageOf(hosts[0]?.create('data', { mode: '0711' }) ?? Promise.resolve()), /mode=0700, not 0711/);
  t.equal(await codeOf(hosts[1]?.create('data', { mode: '0700', readonly: 'false' }) ?? Promise.reject()), 'none');
});

t.test('a folder that is there becomes a volume, can be read only, and is never removed', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  mkdirSync(join(root, 'existing/dir'), { recursive: true });
  writeFileSync(join(root, 'existing/dir/file'), 'old');
  const volume = await a.create('legacy', { path: '/existing/dir', readonly: 'true' });
  await a.mount(volume);
  t.equal(readFileSync(a.inside('legacy', 'file'), 'utf8'), 'old');
  t.throws(() => writeFileSync(a.inside('legacy', 'new'), ''), { code: 'EROFS' });
  t.match(
    await messageOf(a.create('other', { path: '/existing/none' })),
    /SHARE_MISSING: The folder \/existing\/none of share 10\.0\.0\.5:\/export does not exist/,
  );
  await a.leave(volume);
  await a.remove(volume);
  t.same(await a.list(), []);
  t.equal(readFileSync(join(root, 'existing/dir/file'), 'utf8'), 'old');
  t.notOk(existsSync(join(root, '.drayage/trash')));
});

t.test('a folder of a share that nobody can write to is a volume of this host', async (t) => {
  const { host, servers, root } = await shareCluster(t);
  mkdirSync(join(root, 'docs'));
  servers.readonly.add(SHARE);
  const [a, b] = [await host(0), await host(1)];
  t.equal(await codeOf(a.create('docs', { path: '/docs' })), 'SHARE_READONLY', 'it must be said to be read only');
  const volume = await a.create('docs', { path: '/docs', readonly: 'true' });
  t.same(await a.list(), ['docs']);
  t.same(await b.list(), []);
  t.equal(await codeOf(a.create('docs', { path: '/docs', readonly: 'true' })), 'none', 'the same again');
  const again = await host(0);
  t.match(await again.find('docs'), volume, 'it is known after a restart');
  await again.mount(volume);
  await again.leave(volume);
  await again.remove(volume);
  t.same(await again.list(), []);
});

t.test('what is removed goes to the trash, which is emptied; a new volume of the name is empty', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('data');
  await a.mount(volume);
  mkdirSync(a.inside('data', 'deep/deeper'), { recursive: true });
  writeFileSync(a.inside('data', 'deep/deeper/file'), 'x');
  await a.leave(volume);
  await a.remove(volume);
  t.equal(await a.find('data'), undefined);
  const next = await a.create('data');
  t.not(next.handle['uuid'], volume.handle['uuid']);
  t.same(readdirSync(join(root, '.drayage/volumes/data')), []);
  await until(() => readdirSync(join(root, '.drayage/trash')).length === 0);
  t.same(readdirSync(join(root, '.drayage/trash')), []);
});

t.test('a trash that a host left behind is emptied by the next one that looks', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  mkdirSync(join(root, '.drayage/trash/old.1234/x'), { recursive: true });
  mkdirSync(join(root, '.drayage/trash/mine.1234~id-0/x'), { recursive: true });
  mkdirSync(join(root, '.drayage/trash/theirs.1234~id-1/x'), { recursive: true });
  await a.list();
  await until(() => readdirSync(join(root, '.drayage/trash')).length === 1);
  t.same(readdirSync(join(root, '.drayage/trash')), ['theirs.1234~id-1'], 'what another host is at is left to it');
});

t.test('what is retained stays on the share, and a new volume of the name is empty', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('data', { 'on-remove': 'retain' });
  writeFileSync(join(root, '.drayage/volumes/data/file'), 'x');
  await a.remove(volume);
  const kept = `data.${volume.handle['uuid']}`;
  t.same(readdirSync(join(root, '.drayage/retained')).sort(), [kept, `${kept}.json`]);
  t.equal(readFileSync(join(root, '.drayage/retained', kept, 'file'), 'utf8'), 'x');
  await a.create('data');
  t.same(readdirSync(join(root, '.drayage/volumes/data')), []);
});

t.test('a making that was cut off is finished by whoever comes next, and leaves nothing', async (t) => {
  const { host, servers, root } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const options = { uid: '7' };
  for (const step of ['makeFolder .drayage/volumes', 'createFile', 'move .drayage/making']) {
    const name = `cut-${step.split(' ')[0]}`;
    servers.onFile = (what) => {
      if (what.startsWith(step)) throw new Error('killed');
    };
    t.not(await codeOf(a.create(name, options, 'once')), 'none', step);
    servers.onFile = () => undefined;
    t.same(readdirSync(join(root, '.drayage/making')).length, 1);
    await a.create(name, options, 'once');
    t.equal(statSync(join(root, '.drayage/volumes', name)).uid, 7);
    t.same(readdirSync(join(root, '.drayage/making')), []);
  }
  servers.onFile = (what) => {
    if (what.startsWith('move')) throw new Error('killed');
  };
  await codeOf(a.create('data', options));
  servers.onFile = () => undefined;
  const found = await b.find('data');
  if (found !== undefined) await b.mount(found);
  t.equal(statSync(b.target('data')).uid, 7, 'also by a host that mounts it');
  if (found !== undefined) await b.leave(found);
});

t.test('a folder in the way, whose volume is gone, is left alone and said to be there', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  mkdirSync(join(root, '.drayage/volumes/data'), { recursive: true });
  writeFileSync(join(root, '.drayage/volumes/data/file'), 'x');
  t.match(await messageOf(a.create('data')), /BACKEND_REFUSED/);
  t.equal(await a.find('data'), undefined);
  t.equal(readFileSync(join(root, '.drayage/volumes/data/file'), 'utf8'), 'x');
});

t.test('a volume that another host has mounted is not removed, and the host is named', async (t) => {
  const { host } = await shareCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('data');
  await b.mount(volume);
  t.match(await messageOf(a.remove(volume)), /VOLUME_BUSY: .*data.*host-1/);
  t.same(await a.list(), ['data']);
  await b.leave(volume);
  await a.remove(volume);
  t.same(await b.list(), []);
  t.match(await messageOf(b.mount(volume)), /VOLUME_UNKNOWN/, 'who did not hear of it hears it now');
});

t.test('a removal that was cut off is finished, and takes nothing that was made since', async (t) => {
  const { host, servers, root } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('data');
  servers.onFile = (what) => {
    if (what.startsWith('removeFile')) throw new Error('killed');
  };
  await codeOf(a.remove(volume));
  t.notOk(existsSync(join(root, '.drayage/volumes/data')), 'the folder went first');
  servers.onFile = () => undefined;
  await a.remove({ ...volume, resumed: true });
  t.equal(await a.find('data'), undefined);
  await a.remove({ ...volume, resumed: true });
  const next = await a.create('data');
  await a.remove({ ...volume, resumed: true });
  t.equal((await a.find('data'))?.handle['uuid'], next.handle['uuid'], 'a new one of the name stays');
});

t.test('options that do not go together are refused with the reason', async (t) => {
  const { host } = await shareCluster(t);
  const a = await host(0, { usual: [] });
  for (const [options, pattern] of [
    [{}, /OPTION_MISSING: .*share.*NFS_SHARE/],
    [{ share: 'nas/export' }, /OPTION_INVALID: .*share=nas\/export.*no colon/],
    [{ share: SHARE, path: '/x', 'on-remove': 'delete' }, /on-remove=delete.*was not made for the volume/],
    [{ share: SHARE, path: '/x', uid: '7' }, /uid=7/],
    [{ share: SHARE, path: '/.drayage/volumes/x' }, /own/],
    [{ share: SHARE, tls: 'true' }, /tls=true is not valid: not supported yet: .* Allowed: false/],
    [{ share: 'fs-0123456789abcdef0' }, /needs NFS_PROVIDER=efs or nas/],
    [{ share: SHARE, size: '1g' }, /size=1g .*limit/],
    [{ share: SHARE, access: 'single-writer', readonly: 'true' }, /nobody writes/],
    [{ share: SHARE, 'mount-options': 'rsise=1' }, /did you mean rsize/],
    [{ share: SHARE, 'mount-options': 'nolock', nfsvers: '4.1' }, /nolock is not for version 4\.1/],
  ] as const) {
    t.match(
      await a.create('data', options).then(
        () => 'made',
        (error) => error.toUserText(),
      ),
      pattern,
      JSON.stringify(options),
    );
  }
  t.match(await messageOf(a.create('data.json', { share: SHARE })), /VOLUME_NAME/);
});

t.test('a share that only volumes name is remembered, and forgotten with the last of them', async (t) => {
  const { host } = await shareCluster(t);
  const [a, b] = [await host(0, { usual: [] }), await host(1, { usual: [] })];
  const volume = await a.create('data', { share: `${OTHER}/`, nfsvers: '3' });
  t.same(await a.list(), ['data']);
  t.same(await b.list(), [], 'a host that was never told of the share does not know it');
  const again = await host(0, { usual: [] });
  t.same(await again.list(), ['data']);
  t.match(again.mounts.mounted, [/10\.0\.0\.6:\/other .*"version":"3"/], 'mounted as the volume wants it');
  t.match(await b.create('data', { share: OTHER, nfsvers: '3' }), { handle: volume.handle }, 'and joins it when told');
  await again.remove(volume);
  t.same(await again.list(), []);
  t.same(again.mounts.released.includes(OTHER), true);
});

t.test('a server that does not answer takes no volume away, and does not keep others from being found', async (t) => {
  const { host, servers } = await shareCluster(t);
  const a = await host(0, { usual: [SHARE] });
  await a.create('near');
  await a.create('far', { share: OTHER });
  t.same(await a.list(), ['far', 'near']);
  servers.silent.add(OTHER);
  t.same(await a.list(), ['far', 'near']);
  t.match(await a.find('far'), { handle: { share: OTHER } });
  t.equal(await a.find('none'), undefined, 'a share that only volumes name is not asked for others');
  await a.create('new');
  const again = await host(0, { usual: [SHARE] });
  t.same(await again.list(), ['far', 'near', 'new'], 'also after a restart');
  servers.silent.add(SHARE);
  t.equal(await codeOf(again.find('none')), 'SHARE_SILENT', 'of a share that all hosts look at nobody knows');
  t.match(await again.find('near'), { name: 'near' });
  t.equal(await codeOf(again.create('more')), 'SHARE_SILENT');
  const blank = await host(7, { usual: [SHARE] });
  t.equal(await codeOf(blank.list()), 'SHARE_SILENT', 'who never saw it cannot say what is there');
});

t.test('a size is a limit where the provider of the share has those', async (t) => {
  const { host } = await shareCluster(t);
  const limits: string[] = [];
  const provider = new ExportProvider([SHARE]);
  const limit: ShareProvider['limit'] = async (_share, folder, bytes) => {
    if (bytes > 2 ** 40) throw new PluginError('BACKEND_REFUSED', { provider: 'nas', what: 'to limit it' });
    limits.push(`${folder} ${bytes}`);
  };
  const a = await host(0, { provider: Object.assign(provider, { limit }) });
  const volume = await a.create('data', { size: '1g' });
  const grown = await a.backend.dayTwo.resize(volume, '2g', context());
  t.equal(grown.options['size'], '2g');
  t.match(await a.find('data'), { options: { size: '2g' } }, 'on every host');
  t.equal(await codeOf(a.create('data', { size: '2g' })), 'none');
  t.equal(await codeOf(a.create('huge', { size: '2t' })), 'BACKEND_REFUSED');
  t.same(await a.list(), ['data'], 'what cannot be limited as it was asked for is no volume');
  await a.remove(grown);
  const folder = '/.drayage/volumes/data';
  t.same(limits, [`${folder} ${2 ** 30}`, `${folder} ${2 ** 31}`, `${folder} ${2 ** 31}`, `${folder} 0`]);
  const b = await host(1);
  t.match(
    await messageOf(b.backend.dayTwo.resize(volume, '2g', context())),
    /VOLUME_UNABLE: A limit of its size is not possible: volume data is of type nfs, with NFS_PROVIDER=export/,
  );
  t.match(
    await messageOf(b.backend.dayTwo.snapshot(volume, 'x', context())),
    /VOLUME_UNABLE: A snapshot is not possible: volume data is of type nfs/,
  );
  t.same(await b.backend.dayTwo.snapshots(undefined, context()), []);
});

t.test('a share is looked at in the usual way when what a volume has asked for does not go any more', async (t) => {
  const { host } = await shareCluster(t);
  const a = await host(0);
  await a.create('data', { nfsvers: '3' });
  const again = await host(0);
  const ensure = again.mounts.ensure.bind(again.mounts);
  again.mounts.ensure = async (share, wish, c) => {
    if (wish.version === '3') throw new PluginError('SHARE_VERSION', { share: share.id, offered: '4.2', wanted: '3' });
    return await ensure(share, wish, c);
  };
  t.same(await again.list(), ['data']);
});

t.test('one name is one volume, on whichever share', async (t) => {
  const { host } = await shareCluster(t);
  const a = await host(0, { usual: [SHARE, OTHER] });
  await a.create('data', { share: OTHER });
  t.match(await messageOf(a.create('data')), /VOLUME_EXISTS: .*share=10\.0\.0\.6:\/other, not 10\.0\.0\.5:\/export/);
});

t.test('a share that only a volume names is known to whoever has joined it', async (t) => {
  const { host } = await shareCluster(t);
  const volume = await (await host(0)).create('data', { share: OTHER });
  const b = await host(1);
  t.same(await b.list(), [], 'another host has not been told of it');
  t.equal((await b.create('data', { share: OTHER })).handle['uuid'], volume.handle['uuid']);
  t.same(await b.list(), ['data'], 'now it has');
  t.same(await (await host(1)).list(), ['data'], 'also after a restart');
});

t.test('one share by two names is one share', async (t) => {
  const { host, servers } = await shareCluster(t);
  const alias = 'nas.example.com:/export';
  servers.aliases.set(alias, SHARE);
  const a = await host(0, { usual: [SHARE, alias] });
  const volume = await a.create('data');
  t.equal((await a.create('data', { share: alias })).handle['uuid'], volume.handle['uuid']);
  t.same(await a.list(), ['data']);
});

t.test('a provider that cannot be asked takes no volume away that is known', async (t) => {
  const { host } = await shareCluster(t);
  const provider = new ExportProvider([SHARE]);
  const a = await host(0);
  await a.create('data');
  const usual = async (): Promise<never> => {
    throw new PluginError('BACKEND_UNREACHABLE', { provider: 'efs' });
  };
  const again = await host(0, { provider: Object.assign(provider, { usual }) });
  t.match(await again.find('data'), { name: 'data' });
  t.equal(await codeOf(again.find('none')), 'BACKEND_UNREACHABLE');
  t.equal(await codeOf(again.list()), 'BACKEND_UNREACHABLE');
});

t.test('a record that somebody has spoilt is still a volume, and is not used or emptied', async (t) => {
  const { host, root } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('data');
  const path = join(root, '.drayage/volumes/data.json');
  chmodSync(path, 0o644);
  writeFileSync(path, '{"format": 2}');
  t.match(await a.find('data'), { whereabouts: /newer version/ });
  writeFileSync(path, 'nonsense');
  t.same(await a.list(), ['data']);
  t.match(await messageOf(a.create('data')), /BACKEND_REFUSED: .*data\.json/);
  await codeOf(a.remove(volume));
  t.ok(existsSync(join(root, '.drayage/volumes/data')));
});

t.test('inspect tells the share, what was agreed on, and whether the server answers', async (t) => {
  const { host, servers } = await shareCluster(t);
  const a = await host(0);
  const volume = await a.create('data');
  await a.mount(volume);
  t.match(a.backend.status(volume, a.target('data')), {
    ...{ provider: 'export', share: SHARE, folder: '/.drayage/volumes/data', server: 'answering' },
    ...{ version: '4.2', mountOptions: 'vers=4.2', access: 'many', onRemove: 'delete' },
  });
  servers.silent.add(SHARE);
  t.match(a.backend.status(volume), { server: /^not answering since 1970-01-01T/ });
  servers.silent.clear();
  await a.leave(volume);
});
