import t, { type Test } from 'tap';
import { objectStoreConformance } from '../../../conformance/object-store.ts';
import { opened, simulated } from './oss-stores.ts';

t.setTimeout(120_000);

const make = async (t: Test) => {
  const { description } = await simulated(t);
  return {
    store: opened(t, description),
    other: opened(t, description),
    missing: opened(t, { ...description, bucket: 'missing' }),
    gaps: ['long-keys', 'leading-slash'] as const,
  };
};

void t.test('against the simulated OSS', (t) => objectStoreConformance(t, make));
