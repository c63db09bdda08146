// @timeout 4m
// Ways to buckets, as users type them, on two real hosts (engine 28): certificates, proxies, OSS, IPv6, and what is asked of the store.
import { copyFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { GATEWAY4, GATEWAY6, STORE_ADDRESS } from '../rig/addresses.ts';
import { expiredCertificate, makeCertificates } from '../rig/certificates.ts';
import { type Outcome, until } from '../rig/command.ts';
import { PROXY_CREDENTIALS, PROXY_PORTS, type ProxyRequest } from '../rig/http-proxy.ts';
import { type Rig, rigFor } from '../rig/rig.ts';
import { RigStore } from '../rig/store.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { refused } from './support/refusal.ts';
import { NAME, VolumeHost } from './support/volume-host.ts';

const IMAGE = 'drayage/box:1';
const OSS_PORT = 9100;
/** Whoever has mistyped something hears of it within this time; some of it is Docker's. */
const SOON_MS = 8_000;
/** What people do with files, and what is to be seen then. */
const WORKS =
  'mkdir -p /d/x && echo kept > /d/x/a && mv /d/x/a /d/x/b && mv /d/x /d/y && cat /d/y/b && rm /d/y/b && ls -A /d/y';

const proxyAt = (kind: keyof typeof PROXY_PORTS): string => `http://${STORE_ADDRESS}:${PROXY_PORTS[kind]}`;

const optionsOf = (options: Readonly<Record<string, string>>): string[] =>
  Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);

/** What there is beside the hosts: an S3 with a good certificate, one with an expired one, an OSS without any, and proxies. */
const startOutside = async (rig: Rig) => {
  const { machine } = rig.router;
  const folder = path.join(rig.folder, 'tls');
  const addresses = [STORE_ADDRESS, GATEWAY6];
  const good = await makeCertificates(folder, addresses);
  const other = await makeCertificates(path.join(folder, 'other'), addresses);
  const expired = await expiredCertificate(folder, good, addresses);
  for (const host of rig.hosts) {
    copyFileSync(good.ca, path.join(host.stateFolder, 'ca.pem'));
    copyFileSync(other.ca, path.join(host.stateFolder, 'other.pem'));
  }
  const s3 = await RigStore.start(rig, { port: 9443, tls: { key: good.serverKey, cert: good.serverCert } });
  const stale = await RigStore.start(rig, { port: 9444, tls: expired });
  const oss = await RigStore.start(rig, { speaks: 'oss', port: OSS_PORT });
  const script = fileURLToPath(new URL('../rig/http-proxy.ts', import.meta.url));
  await machine.spawn([process.execPath, script, STORE_ADDRESS], 'proxy.log');
  const proxied = (): ProxyRequest[] =>
    readFileSync(path.join(machine.folder, 'proxy.log'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as ProxyRequest);
  return { s3, stale, oss, proxied };
};

const start = async (t: Test) => {
  // Built before the engines start: it may take a while.
  await pluginFolder('volume');
  const rig = await rigFor(t, { hosts: 2, engine: '28' });
  const outside = await startOutside(rig);
  const settings = { ...outside.s3.settings, OBJECT_CA: '/var/lib/drayage/ca.pem', REFRESH_INTERVAL: '5s' };
  const [one, two] = await Promise.all([1, 2].map((n) => VolumeHost.install(rig.host(n), settings)));
  if (one === undefined || two === undefined) throw new Error('two hosts are two');
  return { ...outside, one, two };
};

t.setTimeout(200_000);
t.test('object endpoints', async (t) => {
  const { s3, stale, oss, proxied, one, two } = await start(t);
  t.teardown(() => {
    if (!t.passing()) t.comment([...one.plugin.log().slice(-40), '---', ...two.plugin.log().slice(-20)].join('\n'));
  });
  const create = (name: string, options: Readonly<Record<string, string>> = {}, on = one): Promise<Outcome> =>
    on.host.docker(['volume', 'create', '-d', NAME, '-o', 'type=object', ...optionsOf(options), name]);
  const made = async (t: Test, ...args: Parameters<typeof create>): Promise<void> => {
    const { code, stderr } = await create(...args);
    t.equal(code, 0, stderr);
  };
  const inside = (volume: string, script: string, on = one): Promise<string> =>
    on.must('run', '--rm', '-v', `${volume}:/d`, IMAGE, 'sh', '-c', script);
  /** It is refused, soon, by a sentence of ours that has these words. */
  const wrong = async (
    t: Test,
    code: Parameters<typeof refused>[2],
    words: string[],
    ...args: Parameters<typeof create>
  ) => {
    const outcome = await create(...args);
    refused(t, outcome, code, ...words);
    t.ok(outcome.ms < SOON_MS, `${outcome.ms.toFixed(0)} ms`);
  };
  const ossVolume = { endpoint: oss.endpoint, vendor: 'oss', bucket: 'media', region: oss.region };

  await t.test('a store whose certificate is of one’s own authority is used by two hosts', async (t) => {
    await made(t, 'uploads');
    await inside('uploads', 'echo kept > /d/row');
    await made(t, 'uploads', {}, two);
    t.equal(await inside('uploads', 'cat /d/row', two), 'kept');
  });

  await t.test('a certificate that will not do is refused in its own words', async (t) => {
    const bucket = 'wrong';
    await wrong(t, 'BUCKET_CERTIFICATE', ['expired', stale.endpoint], 'w1', { bucket, endpoint: stale.endpoint });
    const endpoint = `https://${GATEWAY4}:9443`;
    await wrong(t, 'BUCKET_CERTIFICATE', [STORE_ADDRESS, `not for ${GATEWAY4}`], 'w2', { bucket, endpoint });
    const ca = '/var/lib/drayage/other.pem';
    await wrong(t, 'BUCKET_CERTIFICATE', ['authority that this host does not know'], 'w3', { bucket, ca });
    const none = '/var/lib/drayage/none.pem';
    await wrong(t, 'OPTION_INVALID', [`ca=${none}`, 'there is no such file'], 'w4', { bucket, ca: none });
    await wrong(t, 'OPTION_INVALID', ['below /var/lib/drayage'], 'w5', { bucket, ca: '/etc/ssl/ca.pem' });
    t.notMatch(await one.must('volume', 'ls', '-q'), /w\d/, 'nothing is promised');
  });

  await t.test('a bucket of OSS is used as others are', async (t) => {
    await made(t, 'films', ossVolume);
    t.equal(await inside('films', WORKS), 'kept');
    await inside('films', 'dd if=/dev/zero of=/d/large bs=1M count=9 2>/dev/null && echo there > /d/row');
    await made(t, 'films', ossVolume, two);
    t.equal(await inside('films', 'cat /d/row; wc -c < /d/large', two), 'there\n9437184');
    const puts = await oss.control.calls({ action: 'PutObject', code: 'OK' });
    t.ok(puts.some(({ parameters: { bucket, key } }) => bucket === 'media' && key === 'films/row'));
    await wrong(t, 'BUCKET_REGION', ['eu-central-1', '-o region='], 'w6', { ...ossVolume, region: 'eu-central-1' });
  });

  await t.test('an endpoint is an IPv6 address, with TLS and without', async (t) => {
    await made(t, 'six', { endpoint: `https://[${GATEWAY6}]:9443`, bucket: 'six', vendor: 'aws' });
    t.equal(await inside('six', WORKS), 'kept');
    await made(t, 'plain6', { ...ossVolume, endpoint: `http://[${GATEWAY6}]:${OSS_PORT}` });
    t.equal(await inside('plain6', WORKS), 'kept');
    const calls = await s3.control.calls({ action: 'PutObject', code: 'OK' });
    const six = calls.filter(({ parameters }) => parameters['bucket'] === 'six');
    t.ok(six.length > 0 && six.every(({ source }) => source.includes(':')), 'over IPv6');
  });

  await t.test('a proxy leads to the store: CONNECT for TLS, whole requests else', async (t) => {
    await made(t, 'through', { bucket: 'proxied', proxy: proxyAt('open') });
    t.equal(await inside('through', WORKS), 'kept');
    await made(t, 'plain', { ...ossVolume, proxy: proxyAt('open') });
    t.equal(await inside('plain', WORKS), 'kept');
    const asked = proxied().filter(({ proxy }) => proxy === 'open');
    t.ok(asked.some(({ method, target }) => method === 'CONNECT' && target === `${STORE_ADDRESS}:9443`));
    t.ok(asked.some(({ method, target }) => method === 'PUT' && target === `${oss.endpoint}/media/plain/x/a`));
  });

  await t.test('a proxy that refuses, or is away, is told from a store that does', async (t) => {
    const bucket = 'wrong';
    const says = (words: string[], options: Readonly<Record<string, string>>) =>
      wrong(t, 'BUCKET_PROXY', [...words, 'OBJECT_PROXY'], 'w7', { bucket, ...options });
    await says([`${proxyAt('closed')} answers 403`], { proxy: proxyAt('closed') });
    await says([`${proxyAt('closed')} answers 403`], { ...ossVolume, proxy: proxyAt('closed') });
    await says(['wants a name and a password'], { proxy: proxyAt('guarded') });
    await says([`http://${STORE_ADDRESS}:3999 refuses connections`], { proxy: `http://${STORE_ADDRESS}:3999` });
    await says(['http://proxy.test:3128', 'cannot be resolved'], { proxy: 'http://proxy.test:3128' });
    await wrong(t, 'OPTION_INVALID', ['http://'], 'w8', { bucket, proxy: 'https://proxy.test:3128' });
  });

  await t.test('settings name the proxy, its password, and what is reached without it', async (t) => {
    await two.plugin.disable();
    await two.plugin.set({
      OBJECT_PROXY: proxyAt('guarded'),
      OBJECT_PROXY_CREDENTIALS: PROXY_CREDENTIALS,
      OBJECT_NO_PROXY: 'minio.example,fd00::/8',
    });
    await two.plugin.enable();
    t.equal(await inside('uploads', 'cat /d/row', two), 'kept');
    const guarded = () => proxied().filter(({ proxy }) => proxy === 'guarded');
    t.ok(guarded().some(({ target }) => target === `${STORE_ADDRESS}:9443`));
    await made(t, 'six', { endpoint: `https://[${GATEWAY6}]:9443`, bucket: 'six', vendor: 'aws' }, two);
    await inside('six', 'echo direct > /d/row', two);
    t.notOk(
      guarded().some(({ target }) => target.includes(GATEWAY6)),
      'that is reached without',
    );
    t.notMatch(`${two.plugin.log().join('\n')}${await two.must('volume', 'inspect', 'uploads')}`, /p@ss|p%40ss/);
  });

  await t.test('encryption, storage class and who pays arrive in the requests', async (t) => {
    const kept = { sse: 'aws:kms', 'sse-key': 'alias/own', 'storage-class': 'STANDARD_IA', 'requester-pays': 'true' };
    await made(t, 'kept', { bucket: 'kept', ...kept });
    await inside(
      'kept',
      'echo one > /d/row && mv /d/row /d/moved && dd if=/dev/zero of=/d/large bs=1M count=20 2>/dev/null',
    );
    const all = (await s3.control.calls()).filter(({ parameters }) => parameters['bucket'] === 'kept');
    t.ok(
      all.every(({ action, parameters }) => action === 'CreateBucket' || parameters['request-payer'] === 'requester'),
      'each says who pays',
    );
    for (const [action, key] of [
      ['PutObject', 'kept/row'],
      ['CopyObject', 'kept/moved'],
      ['CreateMultipartUpload', 'kept/large'],
    ] as const) {
      const found = all.filter((call) => call.action === action && call.parameters['key'] === key);
      t.ok(found.length > 0, `${action} of ${key}`);
      for (const { parameters } of found) {
        t.match(parameters, {
          'storage-class': 'STANDARD_IA',
          'server-side-encryption': 'aws:kms',
          'server-side-encryption-aws-kms-key-id': 'alias/own',
        });
      }
    }
    const media = { ...ossVolume, sse: 'AES256', 'storage-class': 'IA', 'requester-pays': 'true' };
    await made(t, 'media', media);
    await inside('media', 'echo one > /d/row');
    const [put] = (await oss.control.calls({ action: 'PutObject' })).filter(
      ({ parameters }) => parameters['key'] === 'media/row',
    );
    t.match(put?.parameters, {
      'storage-class': 'IA',
      'server-side-encryption': 'AES256',
      'request-payer': 'requester',
    });
  });

  await t.test('single-writer: another host is refused while one has it', async (t) => {
    await made(t, 'db', { access: 'single-writer' });
    await made(t, 'db', { access: 'single-writer' }, two);
    await one.must('run', '-d', '--name', 'db', '-v', 'db:/d', IMAGE, 'sleep', 'infinity');
    await one.must('exec', 'db', 'sh', '-c', 'echo one > /d/row');
    const second = await two.host.docker(['run', '--rm', '-v', 'db:/d', IMAGE, 'true']);
    t.match(second.stderr, /VOLUME_BUSY: .*host1/);
    await one.must('rm', '-f', 'db');
    await one.untilGone('db');
    t.equal(await inside('db', 'cat /d/row', two), 'one', 'and then it is the other one’s');
  });

  await t.test('docker volume rm takes objects away, wherever they are', async (t) => {
    for (const name of ['films', 'plain', 'six', 'through']) {
      const gone = async (): Promise<boolean> => (await one.host.docker(['volume', 'rm', name])).code === 0;
      await until(`${name} to be free`, gone, { timeoutMs: 20_000, everyMs: 500 });
    }
    interface Stored {
      readonly name: string;
      readonly objects: readonly { readonly key: string }[];
    }
    for (const { control } of [s3, oss]) {
      const buckets = await control.ask<{ buckets?: Stored[] } | Stored[]>('GET', 'state');
      const keys = (Array.isArray(buckets) ? buckets : (buckets.buckets ?? [])).flatMap(({ name, objects }) =>
        objects.map(({ key }) => `${name}/${key}`),
      );
      t.ok(keys.length > 0);
      t.same(
        keys.filter((key) => /\/(films|plain|six|through)\//.test(key)),
        [],
      );
    }
  });
});
