import t, { type Test } from 'tap';
import { PERMISSIONS } from '../../../../shared/cloud/aws/policy.ts';
import { cloudProviderConformance } from '../../../conformance/cloud-provider.ts';
import { routeProviderConformance } from '../../../conformance/route-provider.ts';
import { type AwsWorld, awsWorld } from './aws-world.ts';

t.setTimeout(120_000);

/** Everything that EC2 and its neighbours were asked for, with their names as IAM writes them. */
const asked = new Set<string>();

const noted = async (t: Test, hosts: number): Promise<AwsWorld> => {
  const world = await awsWorld(t, hosts);
  t.teardown(() => {
    for (const { service, action } of world.sim.calls()) if (service !== 'metadata') asked.add(`${service}:${action}`);
  });
  return world;
};

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: false }, async (t) => {
    const world = await noted(t, 20);
    return { host: (n) => world.provider(n) };
  });
});

t.test('conformance of clouds', async (t) => {
  await cloudProviderConformance(t, async (t) => {
    const world = await noted(t, 3);
    return { host: (n) => world.provider(n), cloud: world.controls };
  });
});

t.test('the policy allows what was called, and nothing else', async (t) => {
  t.same(
    [...asked].sort(),
    Object.values(PERMISSIONS)
      .map(({ action }) => action)
      .sort(),
  );
});
