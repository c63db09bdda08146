// What S3 is beside the contract: its errors in our words, answers that are lost or damaged, ways to its buckets.
import { createServer, type RequestListener } from 'node:http';
import t, { type Test } from 'tap';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { bytesOf, context, failureOf, listed, read, text } from '../../../conformance/object-store-tools.ts';
import { certificates } from '../../sim/s3-site.ts';
import { byName, opened, simulated } from './s3-stores.ts';

t.setTimeout(120_000);

/** The error of a call that must fail. */
const errorOf = async (call: Promise<unknown>): Promise<StoreError> => {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof StoreError) return error;
  throw new Error(`no StoreError: ${String(error)}`);
};

/** The endpoint of a server that answers as one likes. */
const served = async (t: Test, answer: RequestListener): Promise<string> => {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
};

const MIB5 = 5 * 2 ** 20;

t.test('a refusal names the action that is not allowed', async (t) => {
  const { sim, description } = await simulated(t);
  const store = opened(t, description);
  await store.put('k', text('x'), { meta: {} }, context());
  sim.deny('s3:GetObject', 's3:PutObject', 's3:DeleteObject', 's3:ListBucket', 's3:ListBucketMultipartUploads');
  const calls: Record<string, () => Promise<unknown>> = {
    's3:GetObject': () => store.get('k', {}, context()),
    's3:PutObject': () => store.put('k', text('y'), { meta: {} }, context()),
    's3:DeleteObject': () => store.remove('k', context()),
    's3:ListBucket': () => store.check(context()),
    's3:ListBucketMultipartUploads': () => store.unfinished('', context()),
  };
  for (const [action, call] of Object.entries(calls)) {
    const error = await errorOf(call());
    t.match(error, { failure: 'DENIED', named: action, passing: false });
    t.match(error.message, `${action} is not allowed for s3://bucket`);
  }
  t.match(await errorOf(store.head('k', context())), { failure: 'DENIED', named: 's3:GetObject' });
  const [left] = await store.removeAll(['k'], context());
  t.match(left, { key: 'k', reason: { failure: 'DENIED', named: 's3:DeleteObject' } });
});

t.test('a bucket of another region is refused with the name of that region', async (t) => {
  const { sim, description } = await simulated(t);
  sim.bucket('far', 'eu-central-1');
  const far = opened(t, { ...description, bucket: 'far' });
  t.match(await errorOf(far.check(context())), {
    failure: 'WRONG_REGION',
    named: 'eu-central-1',
    message: /eu-central-1/,
  });
  t.match(await errorOf(far.put('k', text('x'), { meta: {} }, context())), {
    failure: 'WRONG_REGION',
    named: 'eu-central-1',
  });
  sim.elsewhere('far', 'moved');
  t.match(await errorOf(far.head('k', context())), { failure: 'WRONG_REGION', named: 'eu-central-1' });
  const there = opened(t, { ...description, bucket: 'far', region: 'eu-central-1' });
  sim.elsewhere('far', undefined);
  t.equal(await failureOf(there.check(context())), 'none');
});

t.test('a wrong key, a full bucket and a taken name are told apart', async (t) => {
  const { sim, description } = await simulated(t);
  const credentials = { accessKeyId: 'AKIAUNKNOWNUNKNOWN00', accessKeySecret: 'x' };
  t.equal(await failureOf(opened(t, { ...description, credentials }).check(context())), 'CREDENTIALS');
  const wrong = { ...description.credentials, accessKeySecret: 'wrong' };
  t.equal(await failureOf(opened(t, { ...description, credentials: wrong }).check(context())), 'CREDENTIALS');
  const anonymous = opened(t, { ...description, credentials: { anonymous: true } });
  t.equal(await failureOf(anonymous.check(context())), 'DENIED');
  sim.set('bucket', { open: true });
  t.equal(await failureOf(anonymous.check(context())), 'none');
  sim.set('bucket', { quotaBytes: 10 });
  const store = opened(t, description);
  t.equal(await failureOf(store.put('k', text('more than ten'), { meta: {} }, context())), 'FULL');
  sim.taken('theirs');
  t.equal(await failureOf(opened(t, { ...description, bucket: 'theirs' }).createBucket(context())), 'INVALID');
});

t.test('a server that does not answer is given up by the check, and one that is not there is named', async (t) => {
  const { sim, description } = await simulated(t);
  const store = byName(t, sim, { checkMs: 300 });
  sim.faults.add({ fault: { kind: 'hang' }, times: 9 });
  const begin = performance.now();
  t.match(await errorOf(store.check(context())), { failure: 'UNREACHABLE', message: /has not answered within 0.3 s/ });
  t.ok(performance.now() - begin < 3_000);
  sim.faults.clear();
  await sim.halt();
  const error = await errorOf(opened(t, description).check(context(300)));
  t.match(error, { failure: 'UNREACHABLE', message: /refuses connections/ });
});

t.test('a write under a condition whose answer was lost is known to be our own', async (t) => {
  const { sim, description } = await simulated(t);
  const store = opened(t, description);
  sim.faults.add({ action: 'PutObject', fault: { kind: 'lose-reply' } });
  const made = await store.put('k', text('mine'), { meta: { who: 'me' }, condition: { ifAbsent: true } }, context());
  t.match(await store.head('k', context()), { etag: made.etag, meta: { who: 'me' } });
  sim.faults.add({ action: 'PutObject', fault: { kind: 'lose-reply' } });
  await store.put('k', text('next'), { meta: {}, condition: { ifMatch: made.etag } }, context());
  t.equal(read((await store.get('k', {}, context())).data), 'next');
  // Somebody else was quicker, with other bytes.
  const theirs = store.put('k', text('other'), { meta: {}, condition: { ifAbsent: true } }, context());
  t.equal(await failureOf(theirs), 'CONFLICT');
  sim.faults.add({ action: 'PutObject', fault: { kind: 'drop' } });
  t.equal(
    await failureOf(store.put('k', text('other'), { meta: {}, condition: { ifAbsent: true } }, context())),
    'CONFLICT',
  );
});

t.test('a completion whose answer was lost has succeeded, also under a condition', async (t) => {
  const { sim, description } = await simulated(t);
  const store = opened(t, description);
  for (const condition of [undefined, { ifAbsent: true }] as const) {
    const key = `k${condition === undefined}`;
    const id = await store.beginUpload(key, { meta: {} }, context());
    const part = await store.uploadPart(key, id, 1, text('part'), context());
    sim.faults.add({ action: 'CompleteMultipartUpload', fault: { kind: 'lose-reply' } });
    const done = await store.completeUpload(key, id, [part], condition, context());
    t.match(await store.head(key, context()), { etag: done.etag, size: 4 });
  }
});

t.test('our own is known by its checksum where ETags are no MD5, as of encrypted objects', async (t) => {
  const { sim, description } = await simulated(t, {}, { fastEtags: true });
  const store = opened(t, description);
  const body = bytesOf('x', 100_000);
  sim.faults.add({ action: 'PutObject', fault: { kind: 'lose-reply' } });
  const absent = { ifAbsent: true } as const;
  const made = await store.put('k', [body], { meta: {}, condition: absent }, context());
  t.match(made.etag, /-1$/, 'it is none');
  const other = store.put('k', [bytesOf('y', 100_000)], { meta: {}, condition: absent }, context());
  t.equal(await failureOf(other), 'CONFLICT');
  const id = await store.beginUpload('up', { meta: {} }, context());
  const parts = [await store.uploadPart('up', id, 1, [bytesOf('1', MIB5)], context())];
  parts.push(await store.uploadPart('up', id, 2, [body], context()));
  sim.faults.add({ action: 'CompleteMultipartUpload', fault: { kind: 'lose-reply' } });
  const done = await store.completeUpload('up', id, parts, absent, context());
  t.equal((await store.head('up', context()))?.etag, done.etag);
});

t.test('errors that come with status 200 are errors, and asked again where they pass', async (t) => {
  const { sim, description } = await simulated(t);
  const store = opened(t, description);
  await store.put('k', text('x'), { meta: {} }, context());
  sim.faults.add({ action: 'CopyObject', fault: { kind: 'late-error', code: 'InternalError' }, times: 2 });
  t.match(await store.copy('k', 'copy', {}, context()), { size: 1 });
  sim.faults.add({ action: 'CopyObject', fault: { kind: 'late-error', code: 'AccessDenied' } });
  t.match(await errorOf(store.copy('k', 'copy', {}, context())), { failure: 'DENIED' });
  const id = await store.beginUpload('up', { meta: {} }, context());
  const part = await store.uploadPart('up', id, 1, text('part'), context());
  sim.faults.add({ action: 'CompleteMultipartUpload', fault: { kind: 'late-error', code: 'SlowDown' } });
  t.match(await store.completeUpload('up', id, [part], undefined, context()), { size: 4 });
});

t.test('bytes that are damaged on the way are read again, and are an error when they stay so', async (t) => {
  const { sim, description } = await simulated(t);
  const body = bytesOf('x', 100_000);
  for (const vendor of ['aws', 'generic']) {
    const store = opened(t, { ...description, vendor });
    await store.put('k', [body], { meta: {} }, context());
    sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' }, times: 2 });
    t.ok(Buffer.concat((await store.get('k', {}, context())).data).equals(body), vendor);
    sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' }, times: 2 });
    const all = await store.get('k', { range: { offset: 0, length: 2 ** 20 } }, context());
    t.ok(Buffer.concat(all.data).equals(body), 'a range that is all of it');
    sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' }, times: 9 });
    t.equal(await failureOf(store.get('k', {}, context())), 'DAMAGED');
    sim.faults.clear();
  }
  const store = opened(t, description);
  sim.faults.add({ action: 'GetObject', fault: { kind: 'truncate', after: 5_000 } });
  t.ok(Buffer.concat((await store.get('k', {}, context())).data).equals(body), 'the whole of what was cut short');
});

t.test('objects are kept as the description says: class, encryption, who pays', async (t) => {
  const sent: (readonly [string, Readonly<Record<string, unknown>>])[] = [];
  const endpoint = await served(t, (request, response) => {
    sent.push([`${request.method} ${request.url}`, request.headers]);
    request.resume();
    response.setHeader('etag', '"x"');
    response.end('<Result><ETag>"x"</ETag><UploadId>id</UploadId></Result>');
  });
  const store = opened(t, {
    ...{ kind: 's3', bucket: 'bucket', endpoint, vendor: 'aws', credentials: { anonymous: true } },
    ...{ storageClass: 'STANDARD_IA', sse: { algorithm: 'aws:kms', keyId: 'key-1' }, requesterPays: true },
  });
  const web = { 'cache-control': 'no-cache' };
  await store.put('k', text('123456789'), { meta: { mode: '1' }, contentType: 'a/b', web }, context());
  await store.copy('k ü', 'copy', { sourceSize: 1, ifSourceMatch: 'e', replace: { meta: {} } }, context());
  await store.beginUpload('up', { meta: {} }, context());
  const kept = {
    'x-amz-storage-class': 'STANDARD_IA',
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': 'key-1',
    'x-amz-request-payer': 'requester',
  };
  const described = { 'x-amz-meta-mode': '1', 'content-type': 'a/b', ...web };
  t.match(sent[0], ['PUT /bucket/k', { ...kept, ...described, 'x-amz-checksum-crc32': 'y/Q5Jg==' }]);
  const source = { 'x-amz-copy-source': '/bucket/k%20%C3%BC', 'x-amz-copy-source-if-match': '"e"' };
  t.match(sent[1], ['PUT /bucket/copy', { ...kept, ...source, 'x-amz-metadata-directive': 'REPLACE' }]);
  t.match(sent[2], ['POST /bucket/up?uploads=', { ...kept, 'x-amz-checksum-algorithm': 'CRC32' }]);
  await store.remove('k', context());
  t.match(sent[3], ['DELETE /bucket/k', { 'x-amz-request-payer': 'requester' }]);
  t.notOk(sent[3]?.[1]['x-amz-storage-class'], 'and nothing where nothing is kept');
  const md5 = opened(t, { ...{ kind: 's3', bucket: 'b', endpoint, vendor: 'ceph' }, credentials: { anonymous: true } });
  await md5.put('k', text('123456789'), { meta: {} }, context());
  t.match(sent[4], ['PUT /b/k', { 'content-md5': 'JfnnlDI7RTiF9RgfG2JNCw==' }]);
  t.notOk(sent[4]?.[1]['x-amz-checksum-crc32']);
  const said = opened(t, {
    ...{ kind: 's3', bucket: 'b', endpoint, vendor: 'ceph', guard: 'crc32' },
    credentials: { anonymous: true },
  });
  await said.put('k', text('123456789'), { meta: {} }, context());
  t.match(sent[5], ['PUT /b/k', { 'x-amz-checksum-crc32': 'y/Q5Jg==' }]);
});

t.test('more uploads than fit a page are all found', async (t) => {
  const { description } = await simulated(t);
  const store = opened(t, description);
  const queue = Array.from({ length: 1_005 }, (_, i) => `u/${i} ü`);
  const keys = [...queue];
  const begin = async (): Promise<void> => {
    for (let key = queue.pop(); key !== undefined; key = queue.pop())
      await store.beginUpload(key, { meta: {} }, context());
  };
  await Promise.all(Array.from({ length: 32 }, begin));
  t.same(
    (await store.unfinished('u/', context())).map(({ key }) => key),
    keys.sort(),
  );
});

t.test('the bucket may be in the name of the host, over TLS, and behind IPv6', async (t) => {
  const { ca, tls } = await certificates(t);
  const { sim, description } = await simulated(t);
  const store = byName(t, sim);
  await store.put('a b/ü', text('x'), { meta: {} }, context());
  t.ok(await opened(t, description).head('a b/ü', context()), 'it is the same bucket');
  t.match(await store.copy('a b/ü', 'copy', {}, context()), { size: 1 });
  t.equal((await store.list('', {}, context())).objects.length, 2);

  const six = await simulated(t, {}, { host: '::1' });
  t.match(six.description.endpoint, '[::1]');
  t.equal(await failureOf(opened(t, six.description).put('k', text('x'), { meta: {} }, context())), 'none');

  const secure = await simulated(t, { ca }, { tls });
  const overTls = opened(t, secure.description);
  await overTls.put('k', [bytesOf('tls', MIB5)], { meta: {} }, context());
  t.ok(Buffer.concat((await overTls.get('k', {}, context())).data).equals(bytesOf('tls', MIB5)));
  const { ca: _, ...untrusting } = secure.description;
  t.match(await errorOf(opened(t, untrusting).check(context(500))), {
    failure: 'UNREACHABLE',
    message: /its certificate was issued by/,
  });
});

t.test('where the vendor heeds no condition, a look comes first', async (t) => {
  const { sim, description } = await simulated(t, { vendor: 'generic' });
  sim.lack({ put: 'ignored', complete: 'ignored', copy: 'ignored' });
  const store = opened(t, description);
  t.match(store.limits, { conditionalPut: false, conditionalComplete: false, conditionalCopy: false });
  const { etag } = await store.put('k', text('one'), { meta: {}, condition: { ifAbsent: true } }, context());
  const again = { meta: {}, condition: { ifAbsent: true } };
  t.equal(await failureOf(store.put('k', text('two'), again, context())), 'CONFLICT');
  await store.put('k', text('three'), { meta: {}, condition: { ifMatch: etag } }, context());
  t.equal(
    await failureOf(store.put('k', text('four'), { meta: {}, condition: { ifMatch: etag } }, context())),
    'CONFLICT',
  );
  t.equal(
    await failureOf(store.copy('k', 'k', { replace: { meta: {} }, condition: { ifAbsent: true } }, context())),
    'CONFLICT',
  );
  const relied = opened(t, { ...description, conditionalWrites: true });
  t.equal(relied.limits.conditionalPut, true, 'one may say that it does');
});

t.test('keys that the store could not remove just then are asked for again', async (t) => {
  const { sim, description } = await simulated(t);
  const store = opened(t, description);
  for (const key of ['a', 'b']) await store.put(key, text('x'), { meta: {} }, context());
  sim.faults.add({ action: 'DeleteObjects', fault: { kind: 'throttle' }, times: 2 });
  t.same(await store.removeAll(['a', 'b', 'none', 'a'], context()), []);
  t.same((await store.list('', {}, context())).objects, []);
  sim.lack({ actions: ['DeleteObjects'] });
  for (const key of ['a', 'b']) await store.put(key, text('x'), { meta: {} }, context());
  t.same(await store.removeAll(['a', 'b'], context()), [], 'one by one, where there is no such call');
  t.same((await store.list('', {}, context())).objects, []);
});

t.test('a server that knows listings of version 1 only is asked for those', async (t) => {
  const keys = ['a', 'b+c d', 'e/f', 'e/g', 'h'];
  const asked: Record<string, string>[] = [];
  const endpoint = await served(t, (request, response) => {
    const query = Object.fromEntries(new URL(request.url ?? '', 'http://x').searchParams);
    asked.push(query);
    const behind = keys.filter((key) => key > (query['marker'] ?? ''));
    const page = behind.slice(0, 2);
    const contents = page.map((key) => `<Contents><Key>${key}</Key><Size>1</Size><ETag>"x"</ETag></Contents>`).join('');
    response.end(
      `<ListBucketResult><Marker>${query['marker'] ?? ''}</Marker><IsTruncated>${behind.length > 2}</IsTruncated>${contents}</ListBucketResult>`,
    );
  });
  const store = opened(t, {
    ...{ kind: 's3', bucket: 'bucket', endpoint, vendor: 'generic' },
    credentials: { anonymous: true },
  });
  t.same((await listed(t, store, '')).keys, keys);
  t.same((await listed(t, store, '', { after: 'b+c d' })).keys, ['e/f', 'e/g', 'h']);
  t.same(
    asked.map(({ marker }) => marker),
    [undefined, undefined, 'b+c d', 'e/g', 'b+c d', 'e/g'],
  );
});
