import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import t from 'tap';
import { refusal } from './aws-sdk.ts';
import { BUCKET as Bucket, s3Site } from './s3-site.ts';

t.setTimeout(60_000);

t.test('an object comes back as it was put, whole and in pieces, with its metadata', async (t) => {
  const { s3 } = await s3Site(t);
  const Key = 'a folder/ünïcode + plus & more.txt';
  const Metadata = { mode: '33188', xattr: '%7B%22user.a%22%3A%22Yg%3D%3D%22%7D' };
  const put = await s3.send(
    new PutObjectCommand({ Bucket, Key, Body: '0123456789', Metadata, ContentType: 'text/plain' }),
  );
  t.match(put, { ETag: '"781e5e245d69b566979b86e28d23f2c7"', ChecksumCRC32: 'poTHxg==' });
  const got = await s3.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
  t.match(got, { ContentLength: 10, Metadata, ContentType: 'text/plain', ETag: put.ETag, ChecksumCRC32: 'poTHxg==' });
  t.equal(await got.Body?.transformToString(), '0123456789');
  for (const [Range, bytes, told] of [
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=8-', '89', 'bytes 8-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=5-99', '56789', 'bytes 5-9/10'],
  ] as const) {
    const part = await s3.send(new GetObjectCommand({ Bucket, Key, Range }));
    t.equal(await part.Body?.transformToString(), bytes, Range);
    t.equal(part.ContentRange, told);
  }
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key })), { ContentLength: 10, Metadata });
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=10-' })), {
    ...refusal('InvalidRange', 416),
    ActualObjectSize: '10',
  });
  await s3.send(new DeleteObjectCommand({ Bucket, Key }));
  await s3.send(new DeleteObjectCommand({ Bucket, Key }));
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key })), refusal('NoSuchKey', 404));
  await t.rejects(s3.send(new HeadObjectCommand({ Bucket, Key })), refusal('NotFound', 404));
});

t.test('conditions hold for reads, writes and copies, and nothing is changed where they do not', async (t) => {
  const { s3, sim } = await s3Site(t);
  const Key = 'k';
  const put = (Body: string, more: object) => s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
  const first = await put('one', { IfNoneMatch: '*' });
  await t.rejects(put('two', { IfNoneMatch: '*' }), refusal('PreconditionFailed', 412));
  const second = await put('two', { IfMatch: first.ETag });
  await t.rejects(put('three', { IfMatch: first.ETag }), refusal('PreconditionFailed', 412));
  await t.rejects(
    s3.send(new PutObjectCommand({ Bucket, Key: 'none', Body: '', IfMatch: first.ETag })),
    refusal('NoSuchKey', 404),
  );
  const get = (more: object) => s3.send(new GetObjectCommand({ Bucket, Key, ...more }));
  t.equal(await (await get({ IfMatch: second.ETag })).Body?.transformToString(), 'two');
  await t.rejects(get({ IfMatch: first.ETag }), refusal('PreconditionFailed', 412));
  await t.rejects(get({ IfNoneMatch: second.ETag }), refusal('Unknown', 304));
  await t.rejects(get({ IfModifiedSince: new Date(Date.now() + 5000) }), refusal('Unknown', 304));
  const copy = (more: object) =>
    s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}`, ...more }));
  await t.rejects(copy({ CopySourceIfMatch: first.ETag }), refusal('PreconditionFailed', 412));
  t.match(await copy({ CopySourceIfMatch: second.ETag, IfNoneMatch: '*' }), {
    CopyObjectResult: { ETag: second.ETag },
  });
  await t.rejects(copy({ IfNoneMatch: '*' }), refusal('PreconditionFailed', 412));
  sim.lack({ put: 'refused' });
  await t.rejects(put('four', { IfNoneMatch: '*' }), refusal('NotImplemented', 501));
  sim.lack({ put: 'ignored' });
  await put('five', { IfNoneMatch: '*' });
  t.equal(await (await get({})).Body?.transformToString(), 'five');
});

t.test('a copy keeps or replaces metadata, and one onto itself that changes nothing is refused', async (t) => {
  const { s3 } = await s3Site(t);
  const Key = 'ä/1';
  await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', Metadata: { a: '1' } }));
  const CopySource = encodeURI(`${Bucket}/${Key}`);
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'kept', CopySource }));
  t.same((await s3.send(new HeadObjectCommand({ Bucket, Key: 'kept' }))).Metadata, { a: '1' });
  await s3.send(new CopyObjectCommand({ Bucket, Key, CopySource, MetadataDirective: 'REPLACE', Metadata: { b: '2' } }));
  t.same((await s3.send(new HeadObjectCommand({ Bucket, Key }))).Metadata, { b: '2' });
  await t.rejects(s3.send(new CopyObjectCommand({ Bucket, Key, CopySource })), refusal('InvalidRequest', 400));
  const missing = new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/none` });
  await t.rejects(s3.send(missing), refusal('NoSuchKey', 404));
});

t.test('listings come in pages, in the order of bytes, with folders once', async (t) => {
  const { s3, sim } = await s3Site(t);
  const keys = ['a', 'a/1', 'a/2', 'a/b/3', 'b c+d', 'é', '￮', '😀'];
  for (const Key of keys) await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }));
  const whole = await s3.send(new ListObjectsV2Command({ Bucket }));
  t.same(
    whole.Contents?.map((each) => each.Key),
    keys,
    'the last two are in the order of UTF-8, not of UTF-16',
  );
  for (const limit of [1, 2, 3]) {
    const seen: (string | undefined)[] = [];
    let token: string | undefined;
    do {
      const page = await s3.send(
        new ListObjectsV2Command({ Bucket, Delimiter: '/', MaxKeys: limit, ContinuationToken: token }),
      );
      t.equal(page.KeyCount, (page.Contents?.length ?? 0) + (page.CommonPrefixes?.length ?? 0));
      seen.push(
        ...(page.Contents ?? []).map((each) => each.Key),
        ...(page.CommonPrefixes ?? []).map((each) => each.Prefix),
      );
      token = page.NextContinuationToken;
    } while (token !== undefined);
    t.same(seen.sort(), ['a', 'a/', 'b c+d', 'é', '￮', '😀'].sort(), `pages of ${limit}`);
  }
  const later = await s3.send(
    new ListObjectsV2Command({ Bucket, Prefix: 'a/', StartAfter: 'a/1', EncodingType: 'url' }),
  );
  t.same(
    later.Contents?.map((each) => each.Key),
    ['a/2', 'a/b/3'],
  );
  const encoded = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'b', EncodingType: 'url' }));
  t.same(
    encoded.Contents?.map((each) => each.Key),
    ['b+c%2Bd'],
  );
  const old = await s3.send(new ListObjectsCommand({ Bucket, Delimiter: '/', MaxKeys: 2 }));
  t.match(old, { IsTruncated: true, NextMarker: 'a/', Contents: [{ Key: 'a' }], CommonPrefixes: [{ Prefix: 'a/' }] });
  const next = await s3.send(new ListObjectsCommand({ Bucket, Delimiter: '/', Marker: 'a/' }));
  t.same(
    next.Contents?.map((each) => each.Key),
    ['b c+d', 'é', '￮', '😀'],
  );
  await t.rejects(
    s3.send(new ListObjectsV2Command({ Bucket, ContinuationToken: 'mine' })),
    refusal('InvalidArgument', 400),
  );
  t.equal(sim.counts()['PutObject'], keys.length);
});

t.test('many are deleted at once, and those that may not be are named', async (t) => {
  const { s3, sim } = await s3Site(t);
  for (const Key of ['1', '2', '&<3>']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: '' }));
  const remove = (Quiet: boolean, ...keys: string[]) =>
    s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Quiet, Objects: keys.map((Key) => ({ Key })) } }));
  t.match(await remove(false, '1', 'none'), { Deleted: [{ Key: '1' }, { Key: 'none' }] });
  t.equal((await remove(true, '&<3>')).Deleted, undefined);
  sim.deny('s3:DeleteObject');
  t.match(await remove(true, '2'), { Errors: [{ Key: '2', Code: 'AccessDenied' }] });
  t.same(
    sim
      .bucket(Bucket)
      .all()
      .map(({ key }) => key),
    ['2'],
  );
});

t.test('what is beyond the limits is refused in S3’s words', async (t) => {
  const { s3, sim } = await s3Site(t);
  const put = (Key: string, more: object = {}) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x', ...more }));
  await put('k'.repeat(1024));
  await t.rejects(put('ü'.repeat(513)), refusal('KeyTooLongError', 400));
  await put('meta', { Metadata: { a: 'x'.repeat(2047) } });
  await t.rejects(put('meta', { Metadata: { a: 'x'.repeat(2048) } }), refusal('MetadataTooLarge', 400));
  await t.rejects(put('digest', { ContentMD5: 'CY9rzUYh03PK3k6DJie09g==' }), refusal('BadDigest', 400));
  await t.rejects(put('sum', { ChecksumCRC32: 'AAAAAA==' }), refusal('BadDigest', 400));
  await put('sums', { ChecksumAlgorithm: 'SHA256' });
  sim.set(Bucket, { quotaBytes: 10 });
  await t.rejects(put('big', { Body: '12345678901' }), refusal('QuotaExceeded', 403));
  sim.set(Bucket, { quotaBytes: null, readOnly: true });
  await t.rejects(put('readonly'), refusal('AccessDenied', 403));
  t.equal((await s3.send(new GetObjectCommand({ Bucket, Key: 'sums' }))).ContentLength, 1);
});
