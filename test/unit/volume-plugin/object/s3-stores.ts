import type { Test } from 'tap';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import { StoreCaller } from '../../../../volume-plugin/object/calling.ts';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { HttpClient } from '../../../../volume-plugin/object/http/http-client.ts';
import { originOf } from '../../../../volume-plugin/object/http/origin.ts';
import { fixedKey } from '../../../../volume-plugin/object/key-source.ts';
import { openStore } from '../../../../volume-plugin/object/registry.ts';
import { type S3Options, s3Store } from '../../../../volume-plugin/object/s3.ts';
import { SigV4 } from '../../../../volume-plugin/object/sigv4.ts';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import { VENDORS } from '../../../../volume-plugin/object/vendors.ts';
import type { ObjectSimConfig } from '../../../sim/objects/simulator.ts';
import { type S3Sim, startS3Sim } from '../../../sim/s3/sim.ts';

export const KEY = { id: 'AKIADRAYAGETEST00001', secret: 'a/secret+of/the+tests0123456789abcdefghij' };

/** A store that is closed when the test ends. */
export const opened = (t: Test, description: StoreDescription): ObjectStore => {
  const store = openStore(description);
  t.teardown(() => store.close());
  return store;
};

/** A simulated S3 with a bucket, and how it is described. */
export const simulated = async (
  t: Test,
  more: Partial<StoreDescription> = {},
  config: ObjectSimConfig = {},
): Promise<{ readonly sim: S3Sim; readonly description: StoreDescription }> => {
  const sim = await startS3Sim({ key: KEY, buckets: ['bucket'], ...config });
  t.teardown(() => sim.close());
  const description: StoreDescription = {
    ...{ kind: 's3', bucket: 'bucket', endpoint: sim.endpoint, region: sim.region, vendor: 'aws' },
    credentials: { accessKeyId: KEY.id, accessKeySecret: KEY.secret },
    ...more,
  };
  return { sim, description };
};

/** The bucket `bucket` by a name below localhost, which this host's resolver need not know. */
export const byName = (t: Test, sim: S3Sim, more: Partial<S3Options> = {}): ObjectStore => {
  const http = new HttpClient();
  const origin = originOf(false, '127.0.0.1', sim.port);
  const caller = new StoreCaller({
    http: {
      request: (_, request, c) => http.request(origin, request, c),
      begin: (_, request, c) => http.begin(origin, request, c),
      proxyOf: () => undefined,
      close: () => http.close(),
    },
    signer: new SigV4({ region: sim.region }),
    keys: fixedKey(KEY),
  });
  const address = new BucketAddress(originOf(false, 'localhost', sim.port), 'bucket', 'virtual');
  const store = s3Store({ bucket: 'bucket', region: sim.region, vendor: VENDORS.aws, caller, address, ...more });
  t.teardown(() => store.close());
  return store;
};
