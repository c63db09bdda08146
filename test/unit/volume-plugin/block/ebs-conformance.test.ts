import t from 'tap';
import { diskProviderConformance } from '../../../conformance/disk-provider.ts';
import { ebsWorld } from './ebs-world.ts';

t.setTimeout(120_000);

const GIB = 2 ** 30;

t.test('volumes of EBS are disks', (t) =>
  diskProviderConformance(t, async (t) => {
    const { host } = await ebsWorld(t);
    return { host, size: GIB, growth: GIB, devices: false, rounds: 20 };
  }),
);

t.test('also where states last, and what was written shows later', (t) =>
  diskProviderConformance(t, async (t) => {
    const times = {
      createMs: 80,
      attachMs: 60,
      detachMs: 60,
      deleteMs: 50,
      snapshotMs: 60,
      resizeMs: 40,
      optimizeMs: 20,
    };
    const { host } = await ebsWorld(t, { lagMs: 80, times });
    return { host, size: GIB, growth: GIB, devices: false, rounds: 3 };
  }),
);
