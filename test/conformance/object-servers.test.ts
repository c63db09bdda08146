// @timeout 4m
/** The store for S3 against servers that nobody here wrote: what each of them lacks is its list of gaps. */
import t, { type Test } from 'tap';
import type { StoreDescription } from '../../volume-plugin/object/description.ts';
import { openStore } from '../../volume-plugin/object/registry.ts';
import { type ObjectServer, type ObjectServerName, startObjectServer } from '../rig/object-servers.ts';
import { type Gap, objectStoreConformance } from './object-store.ts';
import { context, failureOf, read, text } from './object-store-tools.ts';

t.setTimeout(200_000);

const GAPS: Readonly<Record<ObjectServerName, readonly Gap[]>> = { ceph: [], s3rver: [] };

let buckets = 0;

const describe = (server: ObjectServer, way: 'plain' | 'secure', bucket: string): StoreDescription => ({
  ...{ kind: 's3', bucket, region: server.region, vendor: server.vendor, addressing: 'path' },
  ...(way === 'plain' ? { endpoint: server.endpoint } : { endpoint: server.secure, ca: server.ca }),
  credentials: { accessKeyId: server.key.id, accessKeySecret: server.key.secret },
});

/** Stores of a bucket of their own. */
const worldOf = (server: ObjectServer, way: 'plain' | 'secure') => async (t: Test) => {
  buckets += 1;
  const description = describe(server, way, `bucket-${buckets}`);
  const opened = (more: Partial<StoreDescription> = {}) => {
    const store = openStore({ ...description, ...more });
    t.teardown(() => store.close());
    return store;
  };
  const store = opened();
  await store.createBucket(context());
  return {
    store,
    other: opened(),
    missing: opened({ bucket: `missing-${buckets}` }),
    gaps: GAPS[server.name],
    isSlow: true,
  };
};

t.test('against Ceph', async (t) => {
  const server = await startObjectServer('ceph');
  t.teardown(() => server.close());
  await t.test('over HTTP', (t) => objectStoreConformance(t, worldOf(server, 'plain')));
  await t.test('over TLS', (t) => objectStoreConformance(t, worldOf(server, 'secure')));
});

// All of the suite over HTTP is in the unit tests.
t.test('against s3rver, over TLS', async (t) => {
  const server = await startObjectServer('s3rver');
  t.teardown(() => server.close());
  const { store, other, missing } = await worldOf(server, 'secure')(t);
  const made = await store.put('a/b', text('over TLS'), { meta: { mode: '33188' } }, context());
  const { data, details } = await other.get('a/b', {}, context());
  t.equal(read(data), 'over TLS');
  t.match(details, { etag: made.etag, meta: { mode: '33188' } });
  t.same((await other.list('', { delimiter: '/' }, context())).prefixes, ['a/']);
  t.equal(await failureOf(missing.check(context())), 'NO_BUCKET');
  const { ca: _, ...stranger } = describe(server, 'secure', 'bucket-1');
  const distrustful = openStore(stranger);
  t.teardown(() => distrustful.close());
  t.match(await distrustful.check(context(5000)).catch(String), /certificate|self.signed/i);
});
