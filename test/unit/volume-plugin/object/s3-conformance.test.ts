import t, { type Test } from 'tap';
import { objectStoreConformance } from '../../../conformance/object-store.ts';
import { opened, simulated } from './s3-stores.ts';

const make = async (t: Test) => {
  const { description } = await simulated(t);
  return {
    store: opened(t, description),
    other: opened(t, description),
    missing: opened(t, { ...description, bucket: 'missing' }),
  };
};

void t.test('against the simulated S3', (t) => objectStoreConformance(t, make));
