import t from 'tap';
import { fromEnv } from '../../../../shared/options.ts';
import {
  bucketId,
  describeBucket,
  readBucket,
  usualBuckets,
  withKeys,
} from '../../../../volume-plugin/backends/object-bucket.ts';
import { checkObjectOptions, prefixOf } from '../../../../volume-plugin/backends/object-options.ts';
import { parseProxy } from '../../../../volume-plugin/object/http/proxy.ts';
import { SETTINGS } from '../../../../volume-plugin/options.ts';

const settings = (env: Record<string, string> = {}) => fromEnv(SETTINGS, env, 'cloudvol');

t.test('a bucket is one text, however it was said', async (t) => {
  const id = (text: string, way = {}, env = {}) => bucketId(readBucket(text, settings(env), way));
  t.equal(id('assets'), 's3://assets');
  t.equal(id('oss://media'), 'oss://media');
  t.equal(id('media', { vendor: 'oss' }), 'oss://media');
  t.equal(id('media', { endpoint: 'https://oss-cn-hangzhou.aliyuncs.com' }).slice(0, 20), 'oss://media?endpoint');
  t.equal(id('media', {}, { OBJECT_VENDOR: 'oss' }), 'oss://media');
  t.equal(id('media', { endpoint: 'http://minio:9000' }, { OBJECT_ENDPOINT: 'http://minio:9000' }), 's3://media');
  const said = { region: 'eu-west-1', addressing: 'path', requesterPays: true, conditionalWrites: false } as const;
  const text = 's3://media?addressing=path&conditional-writes=false&region=eu-west-1&requester-pays=true';
  t.equal(id('media', said), text);
  t.equal(id(text), text, 'which is read again');
  for (const wrong of ['Assets', 'a', 'ftp://assets', 's3://assets?colour=red', 's3://assets?endpoint=minio', '..'])
    t.throws(() => id(wrong), { code: 'OPTION_INVALID' }, wrong);
});

t.test('hosts look at the buckets of their settings; without any, at a folder of their own', async (t) => {
  const ids = (env: Record<string, string>) => usualBuckets(settings(env)).map(bucketId);
  t.same(ids({}), ['folder://local']);
  t.same(ids({ OBJECT_ENDPOINT: 'http://minio:9000' }), []);
  t.same(ids({ OBJECT_BUCKET: 'assets,oss://media' }), ['s3://assets', 'oss://media']);
  t.throws(() => ids({ OBJECT_BUCKET: 'http://assets' }), { code: 'SETTING_INVALID' });
});

t.test('an engine is told of the keys for buckets, else of those for the cloud, and never of half a key', async (t) => {
  const keys = (env: Record<string, string>) => {
    const all = settings(env);
    return describeBucket(readBucket('assets', all), all, undefined).credentials;
  };
  const cloud = { ACCESS_KEY_ID: 'cloudcloud', ACCESS_KEY_SECRET: 'c' };
  t.match(keys(cloud), { accessKeyId: 'cloudcloud', accessKeySecret: 'c' });
  const own = { OBJECT_ACCESS_KEY_ID: 'bucketbucket', OBJECT_ACCESS_KEY_SECRET: 'b' };
  t.match(keys({ ...cloud, ...own }), { accessKeyId: 'bucketbucket', accessKeySecret: 'b' });
  t.throws(() => keys({ ...cloud, OBJECT_ACCESS_KEY_ID: 'bucketbucket' }), { code: 'SETTING_INVALID' });
  const role = keys({ METADATA_ENDPOINT: 'http://127.0.0.1:1' });
  t.same(role, { profile: 'default', metadataEndpoint: 'http://127.0.0.1:1' }, 'the role of the instance');
});

t.test('another endpoint is of another vendor, and a folder needs none of it', async (t) => {
  const all = settings({ OBJECT_VENDOR: 'minio', OBJECT_ENDPOINT: 'http://minio:9000', REGION: 'eu-west-1' });
  t.match(describeBucket(readBucket('a1b', all), all, 'PEM'), {
    ...{ kind: 's3', bucket: 'a1b', vendor: 'minio', endpoint: 'http://minio:9000', region: 'eu-west-1', ca: 'PEM' },
  });
  const other = describeBucket(readBucket('a1b', all, { endpoint: 'http://other:1' }), all, undefined);
  t.equal(other.vendor, undefined);
  t.same(describeBucket(readBucket('folder://local', all), all, undefined), {
    ...{ kind: 'folder', bucket: 'local', folder: '/var/lib/drayage/object' },
  });
});

t.test('the name and the password for the usual proxy are told it, and nobody else', async (t) => {
  const all = settings({
    OBJECT_PROXY: 'http://proxy.example:3128',
    OBJECT_PROXY_CREDENTIALS: 'me:p@ss:w/rd',
    OBJECT_NO_PROXY: 'minio.example,10.0.0.0/8',
  });
  const usual = describeBucket(readBucket('assets', all), all, undefined);
  t.equal(usual.proxy, 'http://me:p%40ss%3Aw%2Frd@proxy.example:3128/');
  t.same(usual.noProxy, ['minio.example', '10.0.0.0/8']);
  t.equal(parseProxy(usual.proxy ?? '').authorization, `proxy-authorization: Basic ${btoa('me:p@ss:w/rd')}\r\n`);
  const now = settings({ OBJECT_PROXY: 'http://proxy.example:3128', OBJECT_PROXY_CREDENTIALS: 'me:new' });
  t.equal(withKeys(usual, now).proxy, 'http://me:new@proxy.example:3128/', 'an engine that is left has the new one');
  t.equal(withKeys({ ...usual, proxy: 'http://other:1' }, now).proxy, 'http://other:1');
  t.equal(bucketId(readBucket('assets', all)), 's3://assets', 'the text of the bucket has nothing of it');
  const other = describeBucket(readBucket('assets', all, { proxy: 'http://other:1' }), all, undefined);
  t.equal(other.proxy, 'http://other:1');
  const none = describeBucket(readBucket('assets', settings()), settings(), undefined);
  t.same([none.proxy, none.noProxy], [undefined, undefined]);
});

t.test('proxies are spoken to without TLS, and URLs in the text of a bucket have no passwords', async (t) => {
  const why = (text: string): string => {
    try {
      readBucket(text, settings());
      return '';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
  t.match(why('s3://assets?proxy=https://proxy:1'), /^OPTION_INVALID.*does not begin with http:/);
  t.match(why('s3://assets?proxy=http://me:secret@proxy:1'), /^OPTION_INVALID.*a name or password must not be part/);
  t.throws(() => settings({ OBJECT_PROXY: 'https://proxy:1' }), /it does not begin with http:/);
  t.throws(() => settings({ OBJECT_NO_PROXY: '10.0.0.0/33' }), /10\.0\.0\.0\/33 is no prefix/);
  t.throws(() => settings({ OBJECT_PROXY_CREDENTIALS: 'secret' }), /^((?!secret).)*$/);
});

t.test('options that do not go with each other are refused; a prefix ends in a slash', async (t) => {
  const check = (options: Record<string, string>) => checkObjectOptions({ name: 'uploads', options });
  t.throws(() => check({ readonly: 'true', access: 'single-writer' }), { code: 'OPTION_INVALID' });
  t.throws(() => check({ 'sse-key': 'k' }), { code: 'OPTION_INVALID' });
  t.throws(() => check({ prefix: '.drayage/x' }), { code: 'OPTION_INVALID' });
  t.throws(() => check({ prefix: 'a/../b' }), { code: 'OPTION_INVALID' });
  t.throws(() => check({ prefix: '', 'on-remove': 'delete' }), { code: 'OPTION_INVALID' });
  t.doesNotThrow(() => check({ prefix: 'media', sse: 'aws:kms', 'sse-key': 'alias/x' }));
  t.equal(prefixOf({ name: 'uploads', options: {} }), 'uploads/');
  t.equal(prefixOf({ name: 'uploads', options: { prefix: 'media' } }), 'media/');
  t.equal(prefixOf({ name: 'uploads', options: { prefix: '' } }), '');
});
