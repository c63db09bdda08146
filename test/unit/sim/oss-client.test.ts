/** The vendor's client, unmodified, in both versions of its signatures: what it says goes, and what is wrong is refused. */
import OSS from 'ali-oss';
import t from 'tap';
import { ManualClock } from '../../sim/core/clock.ts';
import type { Credential } from '../../sim/core/credentials.ts';
import type { ObjectSimConfig } from '../../sim/objects/simulator.ts';
import { type OssSim, startOssSim } from '../../sim/oss/sim.ts';

t.setTimeout(60_000);

const BUCKET = 'assets';
const MIB = 1024 * 1024;
/** Not in the types. */
type Options = OSS.Options & { readonly authorizationV4?: boolean };

const client = (sim: OssSim, key: Credential, more: Partial<Options> = {}): OSS => {
  const options: Options = {
    ...{ endpoint: sim.endpoint, region: `oss-${sim.region}`, bucket: BUCKET },
    ...{ accessKeyId: key.id, accessKeySecret: key.secret },
    ...(key.token === undefined ? {} : { stsToken: key.token, refreshSTSToken: () => Promise.reject(new Error('no')) }),
    ...more,
  };
  return new OSS(options);
};

const site = async (t: { teardown(work: () => unknown): unknown }, config: ObjectSimConfig = {}) => {
  const sim = await startOssSim({ buckets: [BUCKET], ...config });
  t.teardown(() => sim.close());
  return sim;
};

for (const authorizationV4 of [false, true]) {
  const version = authorizationV4 ? 'version 4' : 'version 1';
  t.test(`signed in ${version}: objects, listings, copies, parts and deletions`, async (t) => {
    const sim = await site(t);
    const oss = client(sim, sim.key(), { authorizationV4 });
    const put = await oss.put('a folder/ünï + & .txt', Buffer.from('hello'), {
      meta: { uid: 1, pid: 2, mode: '33188' } as never,
    });
    t.match(put.res, { status: 200, headers: { 'x-oss-hash-crc64ecma': /^\d+$/ } });
    const got = await oss.get('a folder/ünï + & .txt');
    t.equal(got.content.toString(), 'hello');
    t.match((await oss.head('a folder/ünï + & .txt')).meta, { uid: '1', mode: '33188' });
    const part = await oss.get('a folder/ünï + & .txt', undefined, { headers: { Range: 'bytes=1-2' } } as never);
    t.equal(part.content.toString(), 'el');
    await oss.copy('copy', 'a folder/ünï + & .txt');
    const listed = await oss.listV2({ 'max-keys': '1', delimiter: '/' } as never, {} as never);
    t.match(listed, { isTruncated: true, prefixes: ['a folder/'], nextContinuationToken: /./ });
    const { nextContinuationToken: token } = listed as unknown as { readonly nextContinuationToken: string };
    const next = await oss.listV2({ 'continuation-token': token, delimiter: '/' } as never, {} as never);
    t.match(next.objects, [{ name: 'copy', size: 5 }]);
    t.same(
      (await oss.list({ 'max-keys': 10 } as never, {})).objects?.map(({ name }) => name),
      ['a folder/ünï + & .txt', 'copy'],
    );
    const large = Buffer.alloc(MIB + 5, 'x');
    const { res } = await oss.multipartUpload('large', large, { partSize: 512 * 1024, parallel: 2 } as never);
    t.equal((res as unknown as { status: number }).status, 200);
    t.ok((await oss.get('large')).content.equals(large));
    t.match(await oss.deleteMulti(['large', 'copy', 'none']), {
      deleted: [{ Key: 'large' }, { Key: 'copy' }, { Key: 'none' }],
    });
    await oss.delete('a folder/ünï + & .txt');
    await t.rejects(oss.get('a folder/ünï + & .txt'), { code: 'NoSuchKey', status: 404 });
    await t.rejects(oss.head('none'), { code: 'NoSuchKey', status: 404 });
    await oss.putBucket('second-bucket');
    t.match((await oss.listBuckets({})) as object, { buckets: [{ name: BUCKET }, { name: 'second-bucket' }] });
    await oss.deleteBucket('second-bucket');
  });

  t.test(`signed in ${version}: wrong, late and ended keys are refused`, async (t) => {
    const clock = new ManualClock();
    const sim = await site(t, { clock });
    const key = sim.key();
    const put = (with_: Credential, more: Partial<Options> = {}) =>
      client(sim, with_, { authorizationV4, ...more }).put('k', Buffer.from('x'));
    await put(key);
    await t.rejects(put({ ...key, secret: 'other' }), { code: 'SignatureDoesNotMatch', status: 403 });
    await t.rejects(put({ ...key, id: 'LTAINOBODY' }), { code: 'InvalidAccessKeyId', status: 403 });
    if (authorizationV4)
      await t.rejects(put(key, { region: 'oss-cn-beijing', endpoint: sim.endpoint }), { code: 'InvalidArgument' });
    const temporary = sim.key({ ttlMs: 60_000 });
    await put(temporary);
    await t.rejects(put({ ...temporary, token: 'other' }), { code: 'InvalidSecurityToken' });
    clock.advance(61_000);
    await t.rejects(put(temporary), { code: 'SecurityTokenExpired' });
    clock.advance(16 * 60_000);
    await t.rejects(client(sim, key, { authorizationV4 }).head('k'), { code: 'RequestTimeTooSkewed' });
  });
}

t.test('what is not allowed, not there, elsewhere or too much is refused in OSS’s words', async (t) => {
  const sim = await site(t);
  sim.bucket('far', 'cn-beijing');
  const oss = client(sim, sim.key());
  const put = (key: string, headers: object = {}) => oss.put(key, Buffer.from('x'), { headers } as never);
  await put('k');
  await t.rejects(put('k', { 'x-oss-forbid-overwrite': 'true' }), { code: 'FileAlreadyExists', status: 409 });
  await t.rejects(put('k', { 'Content-MD5': 'CY9rzUYh03PK3k6DJie09g==' }), { code: 'InvalidDigest', status: 400 });
  await t.rejects(put('k'.repeat(1024)), { code: 'InvalidObjectName' });
  oss.useBucket('far');
  await t.rejects(put('k'), { code: 'AccessDenied', message: /must be addressed using the specified endpoint/ });
  oss.useBucket('none');
  await t.rejects(put('k'), { code: 'NoSuchBucket', status: 404 });
  oss.useBucket(BUCKET);
  sim.deny('oss:PutObject');
  await t.rejects(put('k'), { code: 'AccessDenied', status: 403 });
  sim.allow('oss:PutObject');
  sim.set(BUCKET, { readOnly: true });
  await t.rejects(put('k'), { code: 'FileImmutable', status: 409 });
  sim.set(BUCKET, { readOnly: false, quotaObjects: 1 });
  await t.rejects(put('second'), { code: 'QuotaExceeded' });
  sim.faults.storm(60_000);
  await t.rejects(put('k'), { code: 'ServiceUnavailable', status: 503 });
  await t.rejects(oss.deleteBucket(BUCKET), { code: 'ServiceUnavailable' });
  sim.faults.clear();
  await t.rejects(oss.deleteBucket(BUCKET), { code: 'BucketNotEmpty', status: 409 });
});
