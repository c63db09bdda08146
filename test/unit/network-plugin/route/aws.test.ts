import t from 'tap';
import { cloudProviderConformance, routeProviderConformance } from '../../../conformance/route-provider.ts';
import { awsWorld } from './aws-world.ts';

t.setTimeout(120_000);

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: false }, async (t) => {
    const world = await awsWorld(t, 20);
    return { host: (n) => world.provider(n) };
  });
});

t.test('conformance of clouds', async (t) => {
  await cloudProviderConformance(t, async (t) => {
    const world = await awsWorld(t, 3);
    return { host: (n) => world.provider(n), cloud: world.controls };
  });
});
