import t, { type Test } from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { openStore, withRegion } from '../../../../volume-plugin/object/registry.ts';
import { context, failureOf, read, text } from '../../../conformance/object-store-tools.ts';
import { startAliyunSim } from '../../../sim/aliyun/sim.ts';
import { opened, simulated } from './oss-stores.ts';

t.setTimeout(60_000);

const site = async (t: Test) => {
  const { sim, description } = await simulated(t);
  return { sim, description, store: opened(t, description) };
};

const error = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

t.test('bytes that arrive as others are sent again, and those that come back as others asked for again', async (t) => {
  const { sim, store } = await site(t);
  const [first] = [sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' }, times: 2 })];
  await store.put('k', text('0123456789'), { meta: {} }, context());
  t.equal(read((await store.get('k', {}, context())).data), '0123456789');
  t.equal(first?.hits, 2);
  sim.faults.add({ action: 'GetObject', fault: { kind: 'corrupt' }, times: 9 });
  t.equal(await failureOf(store.get('k', {}, context())), 'DAMAGED');
  sim.faults.clear();
  // What the store says it has is not what was sent.
  sim.damage(1);
  await store.put('k', text('again'), { meta: {} }, context());
  t.equal(sim.counts()['PutObject'], 3);
  t.equal(read((await store.get('k', {}, context())).data), 'again');
});

t.test('the checksums of parts add up to that of the whole, which is compared', async (t) => {
  const { sim, store } = await site(t);
  sim.limits({ partMin: 1 });
  const upload = async (...bodies: string[]) => {
    const id = await store.beginUpload('k', { meta: {} }, context());
    const parts = [];
    for (const [n, body] of bodies.entries()) parts.push(await store.uploadPart('k', id, n + 1, text(body), context()));
    return { id, parts };
  };
  const good = await upload('one', 'two', 'three');
  await store.completeUpload('k', good.id, good.parts, undefined, context());
  const bad = await upload('one', 'two');
  sim.damage(1);
  t.equal(await failureOf(store.completeUpload('k', bad.id, bad.parts, undefined, context())), 'DAMAGED');
  sim.damage(1);
  const again = await upload('four');
  t.equal(sim.counts()['UploadPart'], 7, 'a damaged part is sent again');
  await store.completeUpload('k', again.id, again.parts, undefined, context());
  t.equal(read((await store.get('k', {}, context())).data), 'four');
});

t.test('of two that make an object one wins, though OSS has no other condition', async (t) => {
  const { sim, store, description } = await site(t);
  const other = opened(t, description);
  const absent = { meta: {}, condition: { ifAbsent: true } } as const;
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, n) => failureOf((n % 2 ? store : other).put('k', text(`${n}`), absent, context()))),
  );
  t.same(outcomes.sort(), [...Array.from({ length: 19 }, () => 'CONFLICT'), 'none']);
  const { etag } = await store.put('k', text('new'), { meta: {} }, context());
  const if_ = (ifMatch: string) =>
    failureOf(store.put('k', text('x'), { meta: {}, condition: { ifMatch } }, context()));
  t.equal(await if_('0'.repeat(32)), 'CONFLICT', 'a look comes first');
  t.equal(await if_(etag), 'none');
  t.equal(await failureOf(store.copy('k', 'k2', { condition: { ifAbsent: true } }, context())), 'none');
  t.equal(await failureOf(store.copy('k', 'k2', { condition: { ifAbsent: true } }, context())), 'CONFLICT');
  const id = await store.beginUpload('k2', { meta: {} }, context());
  const parts = [await store.uploadPart('k2', id, 1, text('x'), context())];
  t.equal(await failureOf(store.completeUpload('k2', id, parts, { ifAbsent: true }, context())), 'CONFLICT');
  t.equal(store.limits.conditionalPut, false);
  t.ok((sim.counts()['HeadObject'] ?? 0) >= 2);
});

t.test('an object whose making was answered into the void is known as our own', async (t) => {
  const { sim, store } = await site(t);
  const absent = { meta: { mode: '33188' }, condition: { ifAbsent: true } } as const;
  sim.faults.loseReply('PutObject');
  t.match(await store.put('k', text('ours'), absent, context()), { key: 'k', size: 4 });
  t.equal(sim.counts()['PutObject'], 2);
  t.equal(
    await failureOf(store.put('k', text('ours'), absent, context())),
    'CONFLICT',
    'without a lost answer it is not',
  );
  sim.limits({ partMin: 1 });
  const id = await store.beginUpload('large', { meta: {} }, context());
  const parts = [await store.uploadPart('large', id, 1, text('x'), context())];
  sim.faults.loseReply('CompleteMultipartUpload');
  t.match(await store.completeUpload('large', id, parts, { ifAbsent: true }, context()), { size: 1, etag: /-1$/ });
});

t.test('refusals name what is not allowed, the right region, and the reason', async (t) => {
  const { sim, store, description } = await site(t);
  sim.deny('oss:PutObject', 'oss:ListObjects', 'oss:GetObject');
  t.match(await error(store.put('k', text('x'), { meta: {} }, context())), {
    failure: 'DENIED',
    named: 'oss:PutObject',
  });
  t.match(await error(store.check(context())), { failure: 'DENIED', named: 'oss:ListObjects' });
  t.match(await error(store.head('k', context())), { failure: 'DENIED', named: 'oss:GetObject' });
  sim.allow('oss:PutObject', 'oss:ListObjects', 'oss:GetObject');
  sim.bucket('far', 'cn-shanghai');
  const far = opened(t, { ...description, bucket: 'far' });
  t.match(await error(far.check(context())), { failure: 'WRONG_REGION', named: 'cn-shanghai' });
  const beijing = opened(t, { ...description, region: 'cn-beijing' });
  t.match(await error(beijing.check(context())), { failure: 'WRONG_REGION' });
  sim.set('bucket', { readOnly: true });
  t.equal(await failureOf(store.put('k', text('x'), { meta: {} }, context())), 'READ_ONLY');
  sim.set('bucket', { readOnly: false, quotaBytes: 0 });
  t.equal(await failureOf(store.put('k', text('x'), { meta: {} }, context())), 'FULL');
  sim.set('bucket', { quotaBytes: null });
  const archived = opened(t, { ...description, storageClass: 'Archive' });
  await archived.put('old', text('x'), { meta: {} }, context());
  t.equal(await failureOf(store.get('old', {}, context())), 'ARCHIVED');
  const stranger = opened(t, { ...description, credentials: { accessKeyId: 'LTAINOBODY', accessKeySecret: 'x' } });
  t.equal(await failureOf(stranger.check(context())), 'CREDENTIALS');
  sim.taken('theirs');
  const theirs = opened(t, { ...description, bucket: 'theirs' });
  t.equal(await failureOf(theirs.createBucket(context())), 'INVALID');
});

t.test('of many keys those that must stay are told, with the reason', async (t) => {
  const { sim, store } = await site(t);
  for (const key of ['a', 'b\u0001', '<c>&']) await store.put(key, text('x'), { meta: {} }, context());
  sim.deny('oss:DeleteObject');
  const left = await store.removeAll(['a', '<c>&'], context());
  t.match(left, [
    { key: 'a', reason: { failure: 'DENIED', named: 'oss:DeleteObject' } },
    { key: '<c>&', reason: { failure: 'DENIED' } },
  ]);
  sim.allow('oss:DeleteObject');
  t.same(await store.removeAll(['a', 'b\u0001', '<c>&', 'none'], context()), []);
  t.equal(sim.bucket('bucket').count, 0);
});

t.test('new objects get the class, the encryption and the payer that the volume asks for', async (t) => {
  const { sim, description } = await simulated(t);
  const sse = { algorithm: 'KMS', keyId: 'key-1' };
  const store = opened(t, { ...description, sse, storageClass: 'IA', requesterPays: true });
  await store.put('k', text('x'), { meta: {} }, context());
  const id = await store.beginUpload('large', { meta: {} }, context());
  await store.completeUpload(
    'large',
    id,
    [await store.uploadPart('large', id, 1, text('x'), context())],
    undefined,
    context(),
  );
  for (const key of ['k', 'large']) {
    t.match(sim.bucket('bucket').find(key), {
      storageClass: 'IA',
      headers: { 'x-oss-server-side-encryption': 'KMS', 'x-oss-server-side-encryption-key-id': 'key-1' },
    });
  }
});

t.test(
  'the role of the instance gives the keys, again when they have ended, and the instance the region',
  async (t) => {
    const aliyun = await startAliyunSim();
    t.teardown(() => aliyun.close());
    const vpc = aliyun.vpc({ cidr: '172.16.0.0/12' });
    const vswitch = aliyun.vswitch({ vpc: vpc.id, cidr: '172.16.0.0/20' });
    aliyun.role({ name: 'drayage' });
    const host = aliyun.instance({ name: 'a', vswitch: vswitch.id, role: 'drayage' });
    const metadataEndpoint = await aliyun.metadataOf(host.id);
    const { sim, description } = await simulated(t, { region: aliyun.region });
    const { region: _, ...nowhere } = description;
    const bare: StoreDescription = { ...nowhere, credentials: { metadataEndpoint } };
    const { endpoint: _endpoint, ...unplaced } = bare;
    t.match(await withRegion(unplaced, context()), { region: aliyun.region });
    const store = openStore({ ...bare, region: aliyun.region });
    t.teardown(() => store.close());
    t.equal(await failureOf(store.check(context(3000))), 'CREDENTIALS', 'OSS does not know them yet');
    for (const { id, secret, token, principal } of aliyun.core.credentials.all()) {
      sim.core.credentials.add({ id, secret, ...(token === undefined ? {} : { token }) });
      t.type(principal.name, 'string');
    }
    t.equal(await failureOf(store.check(context())), 'none');
  },
);
