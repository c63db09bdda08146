// Held against the signatures of the AWS SDK.

import * as s3 from '@aws-sdk/client-s3';
import { S3Client } from '@aws-sdk/client-s3';
import t from 'tap';
import type { SignableRequest } from '../../../../volume-plugin/object/signing.ts';
import { SigV4 } from '../../../../volume-plugin/object/sigv4.ts';
import { encodePath } from '../../../../volume-plugin/object/uri-encoding.ts';
import { RequestMaker } from './random-requests.ts';

t.setTimeout(120_000);

const REGION = 'eu-central-1';
const KEY = { id: 'AKIDEXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
const TEMPORARY = { id: 'ASIAEXAMPLE', secret: 'another/secret', token: 'FwoGZXIvYXdzE+/==' };
const TIME = Date.UTC(2026, 10, 22, 16, 4, 5, 678);
const DAY_MS = 86_400_000;

const clientOf = (key: typeof KEY & { token?: string }): S3Client =>
  new S3Client({
    region: REGION,
    credentials: {
      accessKeyId: key.id,
      secretAccessKey: key.secret,
      ...(key.token !== undefined && { sessionToken: key.token }),
    },
  });

t.test('10,000 random requests are signed as the SDK signs them', async (t) => {
  const maker = new RequestMaker(20261122);
  const ours = new SigV4({ region: REGION });
  const signers = await Promise.all(
    [KEY, TEMPORARY].map(async (key) => ({ key, theirs: await clientOf(key).config.signer() })),
  );
  let different = 0;
  for (let round = 0; round < 10_000; round += 1) {
    const request = maker.request('x-amz-');
    const { key, theirs } = maker.one(signers);
    const time = TIME + maker.upTo(3) * DAY_MS;
    const mine = ours.sign(request, key, time);
    const [hostname = '', port] = [request.host.replace(/:\d+$/, ''), /:(\d+)$/.exec(request.host)?.[1]];
    const signed = await theirs.sign(
      {
        method: request.method,
        protocol: 'https:',
        hostname,
        ...(port !== undefined && { port: Number(port) }),
        path: request.path,
        query: Object.fromEntries(request.query),
        headers: { ...request.headers, host: request.host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      },
      { signingDate: new Date(time) },
    );
    if (mine.headers['authorization'] === signed.headers['authorization']) continue;
    different += 1;
    if (different <= 3) t.comment(JSON.stringify({ request, mine, signed }));
  }
  t.equal(different, 0);
});

t.test('requests that the SDK sends are signed alike, with its paths and queries', async (t) => {
  const maker = new RequestMaker(7);
  const client = new S3Client({
    region: REGION,
    credentials: { accessKeyId: KEY.id, secretAccessKey: KEY.secret },
    requestHandler: {
      handle: async (sent: Sent) => {
        seen.push(sent);
        throw Object.assign(new Error('seen'), { $retryable: undefined });
      },
    },
    maxAttempts: 1,
  });
  const seen: Sent[] = [];
  const ours = new SigV4({ region: REGION });
  for (let round = 0; round < 60; round += 1) {
    const [Bucket, Key] = ['bucket', `k${maker.text(8)}`];
    const commands = [
      new s3.GetObjectCommand({ Bucket, Key, Range: 'bytes=0-99', IfMatch: '"e"' }),
      new s3.HeadObjectCommand({ Bucket, Key }),
      new s3.PutObjectCommand({ Bucket, Key, Body: 'x', Metadata: { mode: '33188' }, IfNoneMatch: '*' }),
      new s3.UploadPartCommand({ Bucket, Key, Body: 'x', UploadId: maker.text(4) || 'u', PartNumber: 3 }),
      new s3.CreateMultipartUploadCommand({ Bucket, Key }),
      new s3.ListObjectsV2Command({ Bucket, Prefix: Key, Delimiter: '/', ContinuationToken: maker.text(4) }),
    ];
    const command = maker.one(commands);
    // Each is another class, which `send` has a signature of its own for.
    await t.rejects(client.send(command as s3.GetObjectCommand), /seen/);
    const sent = seen.pop();
    if (sent === undefined) throw new Error('the SDK has sent nothing');
    const { authorization, 'x-amz-date': date = '', ...headers } = sent.headers;
    const time = Date.parse(date.replace(/(....)(..)(..)T(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6Z'));
    const isList = command instanceof s3.ListObjectsV2Command;
    const { host = '', ...others } = headers;
    const query = Object.entries(sent.query).map(([name, value]) => [name, value ?? ''] as const);
    const mine = ours.sign(
      { method: sent.method, host, path: isList ? '/' : `/${encodePath(Key)}`, resource: '/', query, headers: others },
      KEY,
      time,
    );
    t.equal(mine.headers['authorization'], authorization, `${command.constructor.name} ${JSON.stringify(Key)}`);
  }
});

interface Sent {
  readonly method: string;
  readonly query: Record<string, string | null>;
  readonly headers: Record<string, string>;
}

const REQUEST: SignableRequest = { method: 'GET', host: 'h', path: '/k', resource: '/b/k', query: [], headers: {} };

t.test('what goes over the wire is what was signed', async (t) => {
  const query = [
    ['uploads', ''],
    ['prefix', 'a b+c/~'],
    ['max-keys', '5'],
  ] as const;
  const { target, headers } = new SigV4({ region: REGION }).sign({ ...REQUEST, query }, TEMPORARY, TIME);
  t.equal(target, '/k?max-keys=5&prefix=a%20b%2Bc%2F~&uploads=');
  t.match(headers, {
    host: 'h',
    'x-amz-date': '20261122T160405Z',
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-amz-security-token': TEMPORARY.token,
  });
});

t.test('a body that is to be signed is, and another secret or day gives another signature', async (t) => {
  const signer = new SigV4({ region: REGION });
  const signature = (request: SignableRequest, key = KEY, time = TIME): string =>
    signer.sign(request, key, time).headers['authorization'] ?? '';
  const plain = signature(REQUEST);
  const others = [
    signature({ ...REQUEST, headers: { 'x-amz-content-sha256': 'ab'.repeat(32) } }),
    signature(REQUEST, { ...KEY, secret: 'other' }),
    signature(REQUEST, KEY, TIME + DAY_MS),
  ];
  t.equal(new Set([plain, ...others]).size, 4);
  t.equal(signature(REQUEST), plain, 'and what is kept of one does not colour the next');
});

t.test('without a key nothing is signed', async (t) => {
  t.same(new SigV4({ region: REGION }).sign(REQUEST, undefined, TIME), { target: '/k', headers: { host: 'h' } });
});

t.test('a key that is no Unicode text is refused, and not sent as another one', async (t) => {
  t.throws(() => encodePath('a\ud800'), { name: 'StoreError', failure: 'INVALID' });
});
