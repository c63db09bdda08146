import { request } from 'node:http';
import { Agent } from 'node:https';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import t from 'tap';
import { run } from '../../rig/command.ts';
import { ManualClock } from '../../sim/core/clock.ts';
import { refusal } from './aws-sdk.ts';
import { alter, BUCKET as Bucket, certificates, client, s3Site } from './s3-site.ts';

t.setTimeout(60_000);

t.test('a signature must be the key’s, over all that counts, and of now', async (t) => {
  const { sim } = await s3Site(t, { clock: new ManualClock() });
  const key = sim.key();
  const put = (s3 = client(t, sim, key)) =>
    s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'text', Metadata: { a: '1' } }));
  await put();
  await t.rejects(put(client(t, sim, { ...key, secret: 'wrong' })), refusal('SignatureDoesNotMatch', 403));
  await t.rejects(put(client(t, sim, { ...key, id: 'AKIANOBODY' })), refusal('InvalidAccessKeyId', 403));
  const changed = (change: Parameters<typeof alter>[1]) => put(alter(client(t, sim, key), change));
  await t.rejects(
    changed(({ headers }) => {
      headers['x-amz-meta-a'] = '2';
    }),
    refusal('SignatureDoesNotMatch', 403),
  );
  await t.rejects(
    changed(({ headers }) => {
      headers['x-amz-storage-class'] = 'STANDARD_IA';
    }),
    { ...refusal('AccessDenied', 403), HeadersNotSigned: 'x-amz-storage-class' },
  );
  await t.rejects(
    changed(({ query }) => {
      query['x-id'] = 'other';
    }),
    refusal('SignatureDoesNotMatch', 403),
  );
  await t.rejects(
    changed((request) => {
      request.body = 'TEXT';
    }),
    refusal('XAmzContentSHA256Mismatch', 400),
  );
  t.equal(sim.bucket(Bucket).find('k')?.meta['a'], '1');
  for (const ms of [16 * 60_000, -32 * 60_000]) {
    sim.clock.advance(ms);
    await t.rejects(put(), { ...refusal('RequestTimeTooSkewed', 403), MaxAllowedSkewMilliseconds: '900000' });
  }
});

t.test('temporary keys want their token, until their time is over', async (t) => {
  const { sim } = await s3Site(t);
  const key = sim.key({ ttlMs: 60_000 });
  const list = (with_: typeof key) => client(t, sim, with_).send(new ListObjectsV2Command({ Bucket }));
  await list(key);
  await t.rejects(list({ ...key, token: 'other' }), refusal('InvalidToken', 400));
  sim.core.credentials.expire(key.id);
  await t.rejects(list(key), refusal('ExpiredToken', 400));
});

t.test('the wrong region is told by the right one, and buckets elsewhere by where they are', async (t) => {
  const { sim, s3 } = await s3Site(t);
  sim.bucket('far', 'eu-central-1');
  await t.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'far' })), {
    ...refusal('AuthorizationHeaderMalformed', 400),
    Region: 'eu-central-1',
  });
  const there = client(t, sim, sim.key(), { region: 'eu-central-1' });
  t.match(await there.send(new HeadBucketCommand({ Bucket: 'far' })), { BucketRegion: 'eu-central-1' });
  sim.elsewhere('far', 'moved');
  await t.rejects(there.send(new ListObjectsV2Command({ Bucket: 'far' })), {
    ...refusal('PermanentRedirect', 301),
    Endpoint: 'far.s3.eu-central-1.amazonaws.com',
  });
  sim.elsewhere('far', 'redirected');
  await t.rejects(there.send(new ListObjectsV2Command({ Bucket: 'far' })), refusal('TemporaryRedirect', 307));
});

t.test('what is not allowed is named; without the right to list nobody learns what exists', async (t) => {
  const { sim } = await s3Site(t);
  const reader = client(t, sim, sim.key({ name: 'reader', actions: ['s3:GetObject'] }));
  await t.rejects(reader.send(new PutObjectCommand({ Bucket, Key: 'k', Body: '' })), {
    ...refusal('AccessDenied', 403),
    message: /user\/reader is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::assets\/k"/,
  });
  await t.rejects(reader.send(new GetObjectCommand({ Bucket, Key: 'none' })), refusal('AccessDenied', 403));
  const unsigned = await fetch(`${sim.endpoint}/${Bucket}/`);
  t.equal(unsigned.status, 403);
  sim.set(Bucket, { open: true });
  t.equal((await fetch(`${sim.endpoint}/${Bucket}/`)).status, 200);
});

t.test('buckets are made, listed and removed as S3 does', async (t) => {
  const { sim, s3 } = await s3Site(t);
  const make = (name: string, LocationConstraint?: 'eu-west-1') =>
    s3.send(
      new CreateBucketCommand({
        Bucket: name,
        CreateBucketConfiguration: LocationConstraint && { LocationConstraint },
      }),
    );
  await make('second');
  await make('second');
  sim.taken('theirs');
  await t.rejects(make('theirs'), refusal('BucketAlreadyExists', 409));
  await t.rejects(make('No_Good'), refusal('InvalidBucketName', 400));
  t.same(
    (await s3.send(new ListBucketsCommand({}))).Buckets?.map((each) => each.Name),
    [Bucket, 'second'],
  );
  await s3.send(new PutObjectCommand({ Bucket: 'second', Key: 'k', Body: '' }));
  await t.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'second' })), refusal('BucketNotEmpty', 409));
  sim.bucket('second').remove('k');
  await s3.send(new DeleteBucketCommand({ Bucket: 'second' }));
  await t.rejects(s3.send(new HeadBucketCommand({ Bucket: 'second' })), refusal('NotFound', 404));
  const { sim: west, s3: there } = await s3Site(t, { region: 'eu-west-1' });
  await t.rejects(
    client(t, west, west.key(), { region: 'eu-west-1' }).send(
      new CreateBucketCommand({ Bucket: 'x-1', CreateBucketConfiguration: { LocationConstraint: 'eu-west-3' } }),
    ),
    refusal('IllegalLocationConstraintException', 400),
  );
  await t.rejects(there.send(new CreateBucketCommand({ Bucket })), refusal('BucketAlreadyOwnedByYou', 409));
});

t.test('the bucket may be in the name of the host, and all of it over TLS', async (t) => {
  const { ca, tls } = await certificates(t);
  const { sim } = await s3Site(t, { tls });
  const requestHandler = new NodeHttpHandler({ httpsAgent: new Agent({ ca }) });
  const s3 = client(t, sim, sim.key(), { requestHandler });
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'over TLS' }));
  await t.rejects(client(t, sim).send(new ListBucketsCommand({})), { message: /certificate|self.signed/ });
  const { sim: plain } = await s3Site(t);
  plain.set(Bucket, { open: true });
  plain.bucket(Bucket).put({ ...plainObject, key: 'k' });
  const text = await new Promise((resolve, reject) => {
    const headers = { Host: `${Bucket}.localhost:${plain.port}` };
    const sent = request(`${plain.endpoint}/k`, { headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part)).once('end', () => resolve(Buffer.concat(parts).toString()));
    });
    sent.once('error', reject).end();
  });
  t.equal(text, 'hosted');
});

const plainObject = {
  ...{ body: [Buffer.from('hosted')], size: 6, etag: 'x', modified: 0, meta: {}, headers: {}, checksums: {} },
  storageClass: 'STANDARD',
};

t.test('the vendor’s command puts, lists and gets', async (t) => {
  const { sim } = await s3Site(t);
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', ...sim.environment(sim.key()), AWS_MAX_ATTEMPTS: '1' };
  const aws = async (...args: string[]) => {
    const argv = ['/usr/bin/aws', '--endpoint-url', sim.endpoint, ...args];
    const { code, stdout, stderr } = await run(argv, { env, timeoutMs: 60_000 });
    t.equal(code, 0, stderr);
    return stdout;
  };
  await aws('s3', 'cp', import.meta.filename, `s3://${Bucket}/in a folder/this.ts`);
  t.match(await aws('s3', 'ls', `s3://${Bucket}/in a folder/`), /this\.ts/);
  t.match(await aws('s3', 'cp', `s3://${Bucket}/in a folder/this.ts`, '-'), /the vendor’s command/);
});
