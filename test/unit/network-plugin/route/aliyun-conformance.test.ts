import t from 'tap';
import { policyDocument } from '../../../../shared/cloud/aliyun/policy.ts';
import { cloudProviderConformance } from '../../../conformance/cloud-provider.ts';
import { routeProviderConformance } from '../../../conformance/route-provider.ts';
import { type AliyunWorld, newWorld } from './aliyun-world.ts';

t.setTimeout(120_000);

/** What the simulator was asked for, as RAM names it. */
const asked = new Set<string>();

const watched = async (t: Parameters<typeof newWorld>[0], hosts: number): Promise<AliyunWorld> => {
  const world = await newWorld(t, hosts);
  t.teardown(() => {
    for (const { service, action } of world.sim.calls()) {
      if (service !== 'metadata') asked.add(`${service}:${action}`);
    }
  });
  return world;
};

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: false }, (t) => watched(t, 20));
});

t.test('conformance of a cloud', async (t) => {
  await cloudProviderConformance(t, (t) => watched(t, 3));
});

t.test('the policy allows exactly what was asked for', async (t) => {
  const allowed = policyDocument().Statement.flatMap((statement) => statement.Action);
  t.same([...asked].sort(), [...allowed].sort());
});
