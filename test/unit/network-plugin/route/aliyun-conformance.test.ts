import t from 'tap';
import { PERMISSIONS } from '../../../../shared/cloud/aliyun/policy.ts';
import { context, routeProviderConformance } from '../../../conformance/route-provider.ts';
import { newWorld } from './aliyun-world.ts';

t.setTimeout(120_000);

const seen = new Set<string>();

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: false }, async (t) => {
    const world = await newWorld(t, 20);
    t.teardown(() => {
      for (const { service, action } of world.sim.calls()) seen.add(`${service}:${action}`);
    });
    return { host: (n) => world.host(n) };
  });
});
