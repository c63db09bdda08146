// The vendor's own client and ours, at one store: what either writes the other reads, and both read every answer alike.
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { bytesOf, context, listed, read, text } from '../../../conformance/object-store-tools.ts';
import { client } from '../../sim/s3-site.ts';
import { KEY, opened, simulated } from './s3-stores.ts';

const Bucket = 'bucket';

const both = async (t: Test) => {
  const { sim, description } = await simulated(t);
  const key = sim.key();
  t.ok(key.id !== KEY.id, 'keys of their own');
  return { sim, sdk: client(t, sim, key), store: opened(t, description) };
};

/** The same in every run: letters, signs and characters that are written in several ways. */
const randomKeys = (count: number): string[] => {
  const alphabet = [...'abc/-_.~ +%&=?#<>"\'\\*!()@:;,$[]{}|^`éß日🙂'];
  let state = 42;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
  const key = (): string => Array.from({ length: 1 + next(12) }, () => alphabet[next(alphabet.length)]).join('');
  return [...new Set(Array.from({ length: count }, key))];
};

t.test('what the one writes the other reads, with metadata, and finds its checksum right', async (t) => {
  const { sdk, store } = await both(t);
  const Metadata = { mode: '33188', mtime: '1.5' };
  for (const [i, key] of randomKeys(60).entries()) {
    await store.put(key, text(`ours ${i}`), { meta: Metadata, contentType: 'text/plain' }, context());
    const theirs = await sdk.send(new GetObjectCommand({ Bucket, Key: key, ChecksumMode: 'ENABLED' }));
    t.equal(await theirs.Body?.transformToString(), `ours ${i}`, key);
    t.match(theirs, { Metadata, ContentType: 'text/plain', ChecksumCRC32: /^.{8}$/ });
    const put = await sdk.send(new PutObjectCommand({ Bucket, Key: key, Body: `theirs ${i}`, Metadata }));
    const { data, details } = await store.get(key, {}, context());
    t.equal(read(data), `theirs ${i}`, key);
    t.match(details, { meta: Metadata, etag: put.ETag?.replaceAll('"', '') });
  }
});

t.test('both list the same', async (t) => {
  const { sdk, store } = await both(t);
  const keys = randomKeys(300);
  await Promise.all(keys.map((key) => store.put(key, text(key), { meta: {} }, context())));
  for (const Prefix of ['', 'a', 'a/', 'b ', 'é', 'c%']) {
    for (const delimiter of [undefined, '/'] as const) {
      const ours = await listed(t, store, Prefix, delimiter === undefined ? {} : { delimiter });
      const theirs = await sdk.send(new ListObjectsV2Command({ Bucket, Prefix, Delimiter: delimiter }));
      t.same(ours.keys, theirs.Contents?.map(({ Key }) => Key) ?? [], `${Prefix} ${delimiter}`);
      t.same(ours.prefixes, theirs.CommonPrefixes?.map(({ Prefix }) => Prefix) ?? []);
    }
  }
  const [first] = (await store.list('', { limit: 1 }, context())).objects;
  const head = await sdk.send(new HeadObjectCommand({ Bucket, Key: first?.key ?? '' }));
  t.match(first, {
    size: head.ContentLength,
    etag: head.ETag?.replaceAll('"', ''),
    modified: head.LastModified?.getTime(),
  });
});

t.test('an upload in parts may be begun by the one and completed by the other', async (t) => {
  const { sdk, store } = await both(t);
  const [first, second] = [bytesOf('1', 5 * 2 ** 20), bytesOf('2', 1_000)];
  const bodies = [first, second];
  const whole = Buffer.concat(bodies);
  const id = await store.beginUpload('ours', { meta: {} }, context());
  const one = await store.uploadPart('ours', id, 1, [first], context());
  const upload = { Bucket, Key: 'ours', UploadId: id };
  const two = await sdk.send(
    new UploadPartCommand({ ...upload, PartNumber: 2, Body: second, ChecksumAlgorithm: 'CRC32' }),
  );
  const Parts = [
    { PartNumber: 1, ETag: one.etag, ChecksumCRC32: one.checksum },
    { PartNumber: 2, ETag: two.ETag, ChecksumCRC32: two.ChecksumCRC32 },
  ];
  await sdk.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
  t.ok(Buffer.concat((await store.get('ours', {}, context())).data).equals(whole));

  const begun = await sdk.send(
    new CreateMultipartUploadCommand({ Bucket, Key: 'theirs', ChecksumAlgorithm: 'CRC32', Metadata: { a: '1' } }),
  );
  const theirs = begun.UploadId ?? '';
  const parts = [];
  for (const [i, body] of bodies.entries())
    parts.push(await store.uploadPart('theirs', theirs, i + 1, [body], context()));
  const done = await store.completeUpload('theirs', theirs, parts, { ifAbsent: true }, context());
  const got = await sdk.send(new GetObjectCommand({ Bucket, Key: 'theirs' }));
  t.match(got, { ETag: `"${done.etag}"`, Metadata: { a: '1' } });
  t.ok(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(whole));
});
