import type { Test } from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { openStore } from '../../../../volume-plugin/object/registry.ts';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import { S3Sim } from '../../../sim/s3/sim.ts';

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
): Promise<{ readonly sim: S3Sim; readonly description: StoreDescription }> => {
  const sim = new S3Sim({ key: KEY, buckets: ['bucket'] });
  await sim.start({});
  t.teardown(() => sim.close());
  const description: StoreDescription = {
    ...{ kind: 's3', bucket: 'bucket', endpoint: sim.endpoint, region: sim.region, vendor: 'aws' },
    credentials: { accessKeyId: KEY.id, accessKeySecret: KEY.secret },
    ...more,
  };
  return { sim, description };
};
