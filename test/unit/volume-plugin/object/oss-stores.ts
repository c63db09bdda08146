import type { Test } from 'tap';
import type { StoreDescription } from '../../../../volume-plugin/object/description.ts';
import { openStore } from '../../../../volume-plugin/object/registry.ts';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import type { ObjectSimConfig } from '../../../sim/objects/simulator.ts';
import { startOssSim } from '../../../sim/oss/sim.ts';

export const KEY = { id: 'LTAIDRAYAGETEST000001', secret: 'aSecretOfTheTests0123456789abc' };

/** A store that is closed when the test ends. */
export const opened = (t: Test, description: StoreDescription): ObjectStore => {
  const store = openStore(description);
  t.teardown(() => store.close());
  return store;
};

/** A simulated OSS with a bucket, and how it is described. */
export const simulated = async (t: Test, config: ObjectSimConfig = {}) => {
  const sim = await startOssSim({ key: KEY, buckets: ['bucket'], ...config });
  t.teardown(() => sim.close());
  const description: StoreDescription = {
    ...{ kind: 'oss', bucket: 'bucket', endpoint: sim.endpoint, region: sim.region },
    credentials: { accessKeyId: KEY.id, accessKeySecret: KEY.secret },
  };
  return { sim, description };
};
