import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import type { EngineOptions } from '../../../../volume-plugin/engine/wire.ts';
import { HttpError, type HttpTrouble } from '../../../../volume-plugin/object/http/http-error.ts';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { makeCertificates } from '../../../rig/certificates.ts';
import { codeOf, context, inOwnMounts, messageOf } from '../block/scratch.ts';
import { until } from './nfs-cluster.ts';
import { bucketCluster, refusal } from './object-cluster.ts';

// With real records and mounts; buckets are folders, and engines are made up.
inOwnMounts(import.meta.filename);

t.test(
  'a volume is a prefix of the bucket, which every host lists; the bucket is made when it is missing',
  async (t) => {
    const { host, keys } = await bucketCluster(t);
    const [a, b] = [await host(0), await host(1)];
    t.same(await a.list(), [], 'a bucket that is not there has no volumes');
    t.equal(await a.find('uploads'), undefined);
    const volume = await a.create('uploads');
    t.match(volume.handle, { bucket: 's3://assets', onRemove: 'delete' });
    t.same(await b.list(), ['uploads']);
    t.match(await b.find('uploads'), volume);
    t.match(await keys(), ['.drayage/bucket.json', '.drayage/volumes/uploads.json']);
    t.match(await b.create('uploads'), volume, 'created once more it is the same');
    t.match(await messageOf(b.create('uploads', { uid: '7' })), /VOLUME_EXISTS.*uid=0, not 7/);
  },
);

t.test('of hosts that create the same volume at once one wins and the others join', async (t) => {
  const { host } = await bucketCluster(t);
  const hosts = await Promise.all([0, 1, 2, 3].map((n) => host(n)));
  const made = await Promise.all(hosts.map((one) => one.create('uploads')));
  t.equal(new Set(made.map(({ handle }) => handle['uuid'])).size, 1);
});

t.test('on a fresh machine objects are files of this host', async (t) => {
  const { host, folder } = await bucketCluster(t);
  const a = await host(0, { env: {} });
  t.same(await a.list(), []);
  t.notOk(existsSync(join(folder, 'local')), 'looking makes nothing');
  const volume = await a.create('uploads');
  t.equal(volume.handle['bucket'], 'folder://local');
  t.same(await a.list(), ['uploads']);
  t.ok(existsSync(join(folder, 'local')));
  await a.remove(volume);
  t.same(await a.list(), []);
});

t.test('what is wrong with a bucket is said at docker volume create', async (t) => {
  const { host, storeOf } = await bucketCluster(t);
  await storeOf('assets').createBucket(context());
  const says = async (failing: Parameters<typeof host>[1]) => {
    const one = await host(0, { env: { OBJECT_BUCKET: 's3://assets' }, ...failing });
    return await messageOf(one.create('uploads'));
  };
  const missing = refusal('NO_BUCKET', 'The specified bucket does not exist');
  const denied = refusal('DENIED', 'Access Denied', { named: 's3:CreateBucket' });
  t.match(
    await says({ failing: { check: missing, createBucket: denied } }),
    /^BUCKET_MISSING: The bucket folder:\/\/assets does not exist: and it could not be made: this host may not s3:CreateBucket\./,
  );
  t.match(
    await says({ failing: { check: refusal('WRONG_REGION', 'moved', { named: 'eu-west-1' }) } }),
    /^BUCKET_REGION: .*but in eu-west-1/,
  );
  t.match(
    await says({ failing: { put: refusal('DENIED', 'Access Denied', { named: 's3:PutObject' }) } }),
    /^BUCKET_DENIED: This host may not s3:PutObject in bucket/,
  );
  t.match(
    await says({ failing: { remove: refusal('DENIED', 'Access Denied', { named: 's3:DeleteObject' }) } }),
    /^BUCKET_DENIED: This host may not s3:DeleteObject in bucket/,
  );
  t.match(await says({ failing: { check: refusal('SKEWED', 'off by 3 h') } }), /^BUCKET_CLOCK: .*off by 3 h/);
  t.match(await says({ failing: { check: refusal('UNREACHABLE', 'ECONNREFUSED') } }), /^BUCKET_UNREACHABLE: /);
  t.match(await says({ failing: { check: refusal('CREDENTIALS', 'InvalidAccessKeyId') } }), /^BUCKET_CREDENTIALS: /);
  const silent = new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws', reason: 'metadata service: no answer' });
  const keyless = refusal('UNREACHABLE', 's3:ListBucket', { cause: silent });
  t.match(
    await says({ failing: { check: keyless } }),
    /^BUCKET_KEYLESS: There is no access key for bucket .*: metadata service: no answer\.$/,
  );
  const https = (trouble: HttpTrouble, text: string) =>
    refusal('UNREACHABLE', `s3:ListBucket: ${text}`, { cause: new HttpError(trouble, text) });
  t.match(
    await says({ failing: { check: https('certificate', 'https://a:1: its certificate has expired') } }),
    /^BUCKET_CERTIFICATE: The store of bucket folder:\/\/assets cannot be trusted: https:\/\/a:1: its certificate has expired\.$/,
  );
  t.match(
    await says({ failing: { check: https('proxy', 'the proxy http://p:3128 answers 403') } }),
    /^BUCKET_PROXY: The proxy on the way to bucket folder:\/\/assets does not lead there: the proxy http:\/\/p:3128 answers 403\.$/,
  );
  t.match(await says({ failing: { check: https('refused', 'a refuses connections') } }), /^BUCKET_UNREACHABLE: /);
  t.match(await says({ env: { OBJECT_ENDPOINT: 'http://127.0.0.1:9' } }), /^OPTION_INVALID.*OBJECT_BUCKET names none/);
});

t.test('of a bucket only what the volume needs is asked, so that hosts may be limited to prefixes', async (t) => {
  const { host, storeOf } = await bucketCluster(t);
  await storeOf('assets').createBucket(context());
  const allowed = /^(uploads\/|media\/|\.drayage\/)/;
  const asked: unknown[] = [];
  const within = (prefix: unknown): StoreError | undefined => {
    asked.push(prefix);
    return allowed.test(String(prefix)) ? undefined : new StoreError('DENIED', 'no', { named: 's3:ListBucket' });
  };
  const one = await host(0, { failing: { check: (_, prefix) => within(prefix), list: within } });
  await one.create('uploads');
  t.ok(asked.includes('uploads/'));
  await one.create('films', { prefix: 'media/films' });
  t.ok(asked.includes('media/films/'));
  t.same(await one.list(), ['films', 'uploads']);
  t.equal(await codeOf(one.create('other')), 'BUCKET_DENIED');
});

t.test('certificates that cannot be used are said to be so, and by whom they were named', async (t) => {
  const { host, folder } = await bucketCluster(t);
  const text = join(folder, 'text.pem');
  writeFileSync(text, 'no certificates');
  const ca = '/var/lib/drayage/none-at-all.pem';
  const one = await host(0);
  t.match(
    await messageOf(one.create('uploads', { bucket: 'media', ca })),
    /^OPTION_INVALID: The volume option ca=\/var\/lib\/drayage\/none-at-all\.pem is not valid: there is no such file\./,
  );
  const two = await host(1, { env: { OBJECT_BUCKET: 's3://assets', OBJECT_CA: text } });
  t.match(
    await messageOf(two.create('uploads')),
    /^SETTING_INVALID: OBJECT_CA=.*: it has no certificates in PEM form\./,
  );
});

t.test('certificates that were put in the place of others count at once', async (t) => {
  const { host, folder } = await bucketCluster(t);
  const { ca } = await makeCertificates(join(folder, 'first'), ['127.0.0.1']);
  const second = await makeCertificates(join(folder, 'second'), ['127.0.0.1']);
  const one = await host(0, { env: { OBJECT_BUCKET: 's3://assets', OBJECT_CA: ca } });
  await one.create('uploads');
  await one.create('films');
  t.equal(one.opened.length, 1, 'one connection to the bucket');
  const replaced = readFileSync(second.ca, 'utf8');
  writeFileSync(ca, replaced);
  await one.create('music');
  t.equal(one.opened.length, 2);
  t.equal(one.opened.at(-1)?.ca, replaced);
});

t.test('a refused creation promises nothing, whatever the reason', async (t) => {
  const { host } = await bucketCluster(t);
  const one = await host(0, { failing: { check: refusal('UNREACHABLE', 'ECONNREFUSED') } });
  t.equal(await codeOf(one.create('uploads', {}, 'first')), 'BUCKET_UNREACHABLE');
  t.equal(one.backend.nothingOf('uploads', 'first'), true);
  t.equal(one.backend.nothingOf('uploads', 'second'), false);
});

t.test('a bucket that cannot be asked is not taken for an empty one', async (t) => {
  const { host } = await bucketCluster(t);
  const before = await host(0);
  await before.create('uploads');
  await before.list();
  await before.backend.close();
  const down = { list: refusal('UNREACHABLE', 'x'), get: refusal('UNREACHABLE', 'x') };
  const after = await host(0, { failing: down });
  t.same(await after.list(), ['uploads'], 'as it was when it answered');
  t.match(await after.find('uploads'), { name: 'uploads' });
  t.equal(await codeOf(after.find('other')), 'BUCKET_UNREACHABLE', 'nobody knows whether there is such a volume');
  t.equal(await codeOf((await host(7, { failing: down })).list()), 'BUCKET_UNREACHABLE');
});

t.test('a bucket that only a volume names is known there, also after a restart', async (t) => {
  const { host, keys } = await bucketCluster(t);
  const a = await host(0);
  const options = { bucket: 'media', endpoint: 'http://127.0.0.1:9000', region: 'eu-west-1', addressing: 'path' };
  const volume = await a.create('films', options);
  t.equal(
    volume.handle['bucket'],
    's3://media?addressing=path&endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=eu-west-1',
  );
  const opened = a.opened.find(({ bucket }) => bucket === 'media');
  t.match(opened, { endpoint: 'http://127.0.0.1:9000', region: 'eu-west-1', addressing: 'path' });
  await a.backend.close();
  t.same(await (await host(0)).list(), ['films']);
  t.same(await (await host(1)).list(), [], 'another host has not been told of it');
  const again = await host(1);
  t.match(await again.create('films', options), { handle: { uuid: volume.handle['uuid'] } });
  t.same(await again.list(), ['films'], 'now it has');
  t.match(await again.find('films'), volume);
  await again.backend.close();
  t.same(await (await host(1)).list(), ['films']);
  t.match(await keys('media'), ['.drayage/bucket.json', '.drayage/volumes/films.json']);
});

t.test('it is mounted by an engine of its own, told everything by a file that root alone reads', async (t) => {
  const { host } = await bucketCluster(t);
  const env = { OBJECT_BUCKET: 's3://assets', OBJECT_ACCESS_KEY_ID: 'AKIDEXAMPLE', OBJECT_ACCESS_KEY_SECRET: 'hidden' };
  const a = await host(0, { env });
  const volume = await a.create('uploads', { cache: '64MiB', 'file-mode': '0640', sse: 'aws:kms', 'sse-key': 'k' });
  const mounted = await a.mount(volume);
  t.match(mounted, { source: 'drayage-object:uploads', inside: '' });
  t.match(mountAt(readMountTable(), a.target('uploads')), { source: mounted.source, device: mounted.device });
  const file = join(a.state, 'engines', volume.handle['uuid'] ?? '', 'options.json');
  t.equal(statSync(file).mode & 0o777, 0o600);
  const options = JSON.parse(readFileSync(file, 'utf8')) as EngineOptions;
  t.match(options, {
    ...{ volume: 'uploads', prefix: 'uploads/', fileMode: 0o640, cacheBytes: 2 ** 26, durability: 'server' },
    store: { sse: { algorithm: 'aws:kms', keyId: 'k' }, credentials: { accessKeySecret: 'hidden' } },
  });
  t.same(await a.mount(volume), mounted, 'mounted once more it is the same');
  t.equal(a.engines.started.length, 1);
  await until(() => a.backend.status(volume)['cacheBytes'] === 7);
  const status = a.backend.status(volume);
  t.match(status, { store: 's3', bucket: 'assets', prefix: 'uploads/', consistency: 'close-to-open', cacheBytes: 7 });
  t.notMatch(JSON.stringify(status), /hidden/);
  await a.leave(volume);
  t.equal(mountAt(readMountTable(), a.target('uploads')), undefined);
  t.notOk(a.engines.isAlive(join(a.state, 'engines', volume.handle['uuid'] ?? '')));
});

t.test('an unmount waits for what is not in the bucket, and says how much that is', async (t) => {
  const { host } = await bucketCluster(t);
  const a = await host(0);
  const volume = await a.create('uploads');
  await a.mount(volume);
  a.engines.left = { files: 3, bytes: 5 * 2 ** 20 };
  const unmounting = a.unmount(volume);
  await until(() => a.backend.progress('uploads') !== undefined);
  t.equal(a.backend.progress('uploads'), 'writing uploads out to its bucket (3 files, 5 MiB left)');
  t.match(a.backend.status(volume), { waitingFiles: 3, waitingBytes: 5 * 2 ** 20 });
  t.ok(mountAt(readMountTable(), a.target('uploads')), 'it is mounted as long as something waits');
  a.engines.left = undefined;
  await unmounting;
  t.equal(mountAt(readMountTable(), a.target('uploads')), undefined);
});

t.test('a plugin that is started again finds its engines; a mount whose engine is gone is mounted anew', async (t) => {
  const { host } = await bucketCluster(t);
  const before = await host(0);
  const volume = await before.create('uploads');
  const mounted = { ...(await before.mount(volume)), target: before.target('uploads') };
  before.stop();
  const after = await host(0, {}, before.engines);
  after.backend.resume(volume, mounted);
  t.same(await after.mount(volume), { source: mounted.source, device: mounted.device, inside: '' });
  t.equal(after.engines.started.length, 1, 'nothing is mounted anew while they live');
  await after.engines.kill(join(after.state, 'engines', volume.handle['uuid'] ?? ''));
  const later = await host(0, {}, before.engines);
  later.backend.resume(volume, mounted);
  await until(() => mountAt(readMountTable(), later.target('uploads')) === undefined);
  t.equal(mountAt(readMountTable(), later.target('uploads')), undefined, 'a dead mount is taken away');
  t.match(await later.mount(volume), { source: mounted.source });
  t.equal(later.engines.started.filter(({ mount }) => mount !== undefined).length, 2);
});

t.test(
  'what an engine has left is brought to the bucket at the start; that of a removed volume is given up',
  async (t) => {
    const { host } = await bucketCluster(t);
    const before = await host(0);
    const [kept, gone] = [await before.create('kept'), await before.create('gone')];
    for (const volume of [kept, gone]) await before.mount(volume);
    const folder = (volume: typeof kept): string => join(before.state, 'engines', volume.handle['uuid'] ?? '');
    for (const volume of [kept, gone]) await before.engines.kill(folder(volume));
    await (await host(1)).remove({ ...gone, handle: { ...gone.handle } }).catch(() => undefined);
    await (await host(1)).backend.fence(gone, 'host-0', context());
    await (await host(1)).remove(gone);
    before.stop();
    const after = await host(0, {});
    await until(() => after.engines.started.length > 0 && !existsSync(folder(gone)));
    t.match(after.engines.started, [{ folder: folder(kept), volume: 'kept' }]);
    t.equal(after.engines.started[0]?.mount, undefined);
    t.notOk(existsSync(folder(gone)));
  },
);

t.test('rm deletes the objects of the volume and nobody else’s, and a bucket that was made for it', async (t) => {
  const { host, keys, put, storeOf } = await bucketCluster(t);
  const a = await host(0);
  const [uploads, other] = [await a.create('uploads'), await a.create('uploads2')];
  const nested = await a.create('nested', { prefix: 'uploads/nested/' });
  for (const key of ['uploads/a', 'uploads/b/c', 'uploads/.drayage/notes/x', 'uploads/nested/kept', 'uploads2/kept'])
    await put(key);
  await storeOf('assets').beginUpload('uploads/half', { meta: {} }, context());
  await a.remove(uploads);
  t.same(await keys('assets', 'uploads'), ['uploads/nested/kept', 'uploads2/kept']);
  t.same(await storeOf('assets').unfinished('uploads/', context()), []);
  t.same(await a.list(), ['nested', 'uploads2']);
  t.equal(nested.handle['onRemove'], 'retain', 'a prefix that was named is retained');
  await a.remove(nested);
  await a.remove(other);
  t.same(await keys(), ['.drayage/bucket.json', 'uploads/nested/kept'], 'a bucket with something in it stays');
  await storeOf('assets').remove('uploads/nested/kept', context());
  await a.remove(await a.create('last'));
  t.match(await codeOf(storeOf('assets').check(context())), /there is no bucket/, 'an empty one goes');
});

t.test('what was in the prefix before the volume stays when it goes, unless its maker says otherwise', async (t) => {
  const { host, keys, put, storeOf } = await bucketCluster(t);
  await storeOf('assets').createBucket(context());
  await put('uploads/there');
  const a = await host(0);
  await a.remove(await a.create('uploads'));
  t.same(await keys(), ['uploads/there']);
  await a.remove(await a.create('uploads', { 'on-remove': 'delete' }));
  t.same(await keys(), []);
  t.equal(await codeOf(a.create('all', { prefix: '', 'on-remove': 'delete' })), 'OPTION_INVALID');
});

t.test('while its objects are being removed nobody makes a new volume of that name', async (t) => {
  const { host, keys, put } = await bucketCluster(t);
  const volume = await (await host(0)).create('uploads');
  await put('uploads/a');
  await put('elsewhere');
  const half = await host(0, { failing: { removeAll: refusal('UNREACHABLE', 'cut') } });
  t.equal(await codeOf(half.remove(volume)), 'BUCKET_UNREACHABLE');
  const b = await host(1);
  t.same(await b.list(), []);
  t.match(await messageOf(b.create('uploads')), /VOLUME_REMOVING.*by host host-0/);
  t.equal(await codeOf(b.mount(volume)), 'VOLUME_REMOVING');
  await (await host(0)).remove({ ...volume, resumed: true });
  t.same(await keys('assets', 'uploads/'), []);
  t.notSame((await b.create('uploads')).handle['uuid'], volume.handle['uuid']);
});

t.test('a volume that another host has mounted is not removed, and that host is named', async (t) => {
  const { host } = await bucketCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('uploads');
  await a.mount(volume);
  t.match(await messageOf(b.remove(volume)), /VOLUME_BUSY.*host-0.*drayage volume fence uploads host-0/);
  t.same(await b.list(), ['uploads']);
  await a.leave(volume);
  await b.remove(volume);
  t.same(await a.list(), []);
});

t.test('single-writer: one host has it, another one is refused; who loses it is cut off', async (t) => {
  const { host } = await bucketCluster(t);
  const [a, b] = [await host(0), await host(1)];
  const volume = await a.create('db', { access: 'single-writer' });
  t.match(await a.mount(volume), { epoch: 1 });
  t.equal(await codeOf(b.backend.mount(volume, b.target('db'), context(5_000))), 'VOLUME_BUSY');
  await a.leave(volume);
  t.match(await b.mount(volume), { epoch: 2 });
  for (const name of readdirSync(join(a.state, '../store/assets'), { recursive: true }).map(String)) {
    if (/db\.2\.json/.test(name)) rmSync(join(a.state, '../store/assets', name), { recursive: true });
  }
  await until(() => b.lost.length > 0 && b.engines.killed.length > 0);
  t.same(b.lost, ['db']);
  t.same(b.engines.killed, [join(b.state, 'engines', volume.handle['uuid'] ?? '')]);
  await b.unmount(volume);
});

t.test('a bucket that nobody can write to has volumes for this host alone', async (t) => {
  const { host, storeOf } = await bucketCluster(t);
  await storeOf('assets').createBucket(context());
  const failing = { put: refusal('DENIED', 'Access Denied', { named: 's3:PutObject' }) };
  const a = await host(0, { failing });
  const volume = await a.create('media', { readonly: 'true', prefix: '' });
  t.same(await a.list(), ['media']);
  await a.mount(volume);
  await a.leave(volume);
  t.same(await (await host(1)).list(), []);
  await a.remove(volume);
  t.same(await a.list(), []);
});
