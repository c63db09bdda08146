import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import t from 'tap';
import { refusal } from './aws-sdk.ts';
import { BUCKET as Bucket, s3Site } from './s3-site.ts';

t.setTimeout(60_000);

const MIB = 1024 * 1024;
const SUMS = { ChecksumAlgorithm: 'CRC32' };

const site = async (t: Parameters<typeof s3Site>[0]) => {
  const { s3, sim } = await s3Site(t);
  const begin = async (Key: string, more: object = {}): Promise<string> =>
    (await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))).UploadId ?? '';
  const upload = async (Key: string, UploadId: string, PartNumber: number, Body: Buffer): Promise<CompletedPart> => {
    const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    return { PartNumber, ETag, ChecksumCRC32 };
  };
  const complete = (Key: string, UploadId: string, Parts: CompletedPart[], more: object = {}) =>
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }));
  return { s3, sim, begin, upload, complete };
};

t.test('parts become one object, checked as a whole', async (t) => {
  const { s3, sim, begin, upload, complete } = await site(t);
  const [one, two] = [Buffer.alloc(5 * MIB, 'a'), Buffer.from('the end')];
  const id = await begin('k', { ...SUMS, Metadata: { mode: '33188' }, ContentType: 'text/x' });
  const parts = [await upload('k', id, 1, one), await upload('k', id, 7, two)];
  t.match(await s3.send(new ListPartsCommand({ Bucket, Key: 'k', UploadId: id })), {
    Parts: [
      { PartNumber: 1, Size: 5 * MIB },
      { PartNumber: 7, Size: 7 },
    ],
  });
  const done = await complete('k', id, parts);
  t.match(done.ETag, /^"[0-9a-f]{32}-2"$/);
  t.match(done.ChecksumCRC32, /-2$/, 'the sum of sums, as is usual');
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=${5 * MIB - 2}-` }));
  t.match(got, { Metadata: { mode: '33188' }, ContentType: 'text/x', ETag: done.ETag });
  t.equal(await got.Body?.transformToString(), 'aathe end');
  t.equal(sim.bucket(Bucket).uploads.size, 0);
  await t.rejects(complete('k', id, parts), refusal('NoSuchUpload', 404));
});

t.test('a whole object’s checksum is verified at the completion when that was asked for', async (t) => {
  const { s3, begin, upload, complete } = await site(t);
  const id = await begin('k', { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' });
  const part = await upload('k', id, 1, Buffer.from('123456789'));
  const named = [{ PartNumber: 1, ETag: part.ETag }];
  const wrong = complete('k', id, named, { ChecksumCRC32: 'AAAAAA==', ChecksumType: 'FULL_OBJECT' });
  await t.rejects(wrong, refusal('BadDigest', 400));
  const right = { ChecksumCRC32: 'y/Q5Jg==', ChecksumType: 'FULL_OBJECT' };
  t.match(await complete('k', id, named, right), { ChecksumCRC32: 'y/Q5Jg==' });
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }));
  t.match(got, { ChecksumCRC32: 'y/Q5Jg==', ChecksumType: 'FULL_OBJECT' });
});

t.test('parts that are too small, unknown, wrong or out of order are refused, and the upload stays', async (t) => {
  const { sim, begin, upload, complete } = await site(t);
  const id = await begin('k', SUMS);
  const small = [await upload('k', id, 1, Buffer.alloc(5 * MIB - 1)), await upload('k', id, 2, Buffer.alloc(1))];
  await t.rejects(complete('k', id, small), { ...refusal('EntityTooSmall', 400), PartNumber: '1' });
  await t.rejects(complete('k', id, [...small].reverse()), refusal('InvalidPartOrder', 400));
  const [first, second] = small;
  await t.rejects(complete('k', id, [{ ...first, PartNumber: 3 }]), refusal('InvalidPart', 400));
  await t.rejects(complete('k', id, [{ ...first, ETag: second?.ETag }]), refusal('InvalidPart', 400));
  await t.rejects(complete('k', id, [{ PartNumber: 1, ETag: first?.ETag }]), refusal('InvalidRequest', 400));
  await t.rejects(complete('k', id, []), refusal('MalformedXML', 400));
  await t.rejects(upload('k', id, 10_001, Buffer.alloc(1)), refusal('InvalidArgument', 400));
  await t.rejects(upload('other', id, 1, Buffer.alloc(1)), refusal('NoSuchUpload', 404));
  sim.limits({ partMin: 1024 });
  await complete('k', id, small);
});

t.test('ranges of objects are copied into parts', async (t) => {
  const { s3, begin, complete } = await site(t);
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: '0123456789' }));
  const id = await begin('k', {});
  const copy = (CopySourceRange: string) =>
    s3.send(
      new UploadPartCopyCommand({
        ...{ Bucket, Key: 'k', UploadId: id, PartNumber: 1 },
        ...{ CopySource: `${Bucket}/source`, CopySourceRange },
      }),
    );
  await t.rejects(copy('bytes=5-10'), refusal('InvalidArgument', 400));
  const { CopyPartResult } = await copy('bytes=3-6');
  await complete('k', id, [{ ...CopyPartResult, PartNumber: 1 }]);
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }));
  t.equal(await got.Body?.transformToString(), '3456');
});

t.test(
  'a completion can ask for what is there, and unfinished uploads are listed until they are aborted',
  async (t) => {
    const { s3, begin, upload, complete } = await site(t);
    const ids = [];
    for (const key of ['b', 'a', 'c', 'a']) ids.push(await begin(key));
    const page = await s3.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 3 }));
    t.same(
      page.Uploads?.map((each) => each.Key),
      ['a', 'a', 'b'],
    );
    const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    const rest = await s3.send(new ListMultipartUploadsCommand({ Bucket, KeyMarker, UploadIdMarker }));
    t.same(
      rest.Uploads?.map((each) => each.Key),
      ['c'],
    );
    const [id = '', aborted = ''] = ids;
    await s3.send(new PutObjectCommand({ Bucket, Key: 'b', Body: 'somebody else' }));
    const parts = [await upload('b', id, 1, Buffer.from('mine'))];
    await t.rejects(complete('b', id, parts, { IfNoneMatch: '*' }), refusal('PreconditionFailed', 412));
    await complete('b', id, parts);
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'a', UploadId: aborted }));
    await t.rejects(upload('a', aborted, 1, Buffer.from('x')), refusal('NoSuchUpload', 404));
    const left = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
    t.same(
      left.Uploads?.map((each) => each.Key),
      ['a', 'c'],
    );
  },
);
