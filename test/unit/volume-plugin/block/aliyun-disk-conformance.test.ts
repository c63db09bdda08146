import t from 'tap';
import { diskProviderConformance } from '../../../conformance/disk-provider.ts';
import { diskSite, GIB } from './aliyun-disk-world.ts';

t.setTimeout(120_000);

/** In the order of what is real, and quick. */
const TIMES = { createMs: 40, attachMs: 50, detachMs: 120, busyMs: 20, snapshotMs: 80, resizeMs: 60 };

t.test('disks of Aliyun are disks', (t) =>
  diskProviderConformance(t, async (t) => {
    const { host } = await diskSite(t);
    return { host: (n) => host(n), size: 20 * GIB, growth: GIB, devices: false, rounds: 30, lateMs: 0 };
  }),
);

t.test('also where every state takes time, and what is shown is late', (t) =>
  diskProviderConformance(t, async (t) => {
    const { host } = await diskSite(t, 'aa', { lagMs: 150, times: TIMES });
    return { host: (n) => host(n), size: 20 * GIB, growth: GIB, devices: false, rounds: 5, lateMs: 10_000 };
  }),
);
