/** Two hosts in a simulated cloud: who reaches whom is what the cloud's route table says, and nothing else. */
import t from 'tap';
import { CONSISTENCY_MS } from '../../../network-plugin/route/route-view.ts';
import { policyDocument as policyOfAliyun } from '../../../shared/cloud/aliyun/policy.ts';
import { policyDocument as policyOfAws } from '../../../shared/cloud/aws/policy.ts';
import type { CloudName } from '../../rig/cloud-router.ts';
import { until } from '../../rig/command.ts';
import type { Theme } from '../network/matrix.ts';
import { reach } from '../network/reach.ts';
import { Cluster } from '../support/cluster.ts';
import { lostHosts, prefixOf } from './lost-hosts.ts';

/** Slow enough that what is written does not show at once, and that two hosts meet. */
const SIM = {
  aws: { lagMs: 400 },
  aliyun: { timing: { settleMs: 600, conflictMs: 300 } },
} as const satisfies Record<CloudName, object>;

/** What the hosts' role may do: exactly what `drayage policy` says. */
const RIGHTS = {
  aws: policyOfAws().Statement.flatMap(({ Action }) => Action),
  aliyun: policyOfAliyun().Statement.flatMap(({ Action }) => Action),
} as const satisfies Record<CloudName, readonly string[]>;

export function cloudTraffic(name: CloudName, themes: readonly Theme[]): void {
  t.setTimeout(300_000);
  t.test(`two hosts on ${name}, engine 28`, async (t) => {
    const cluster = await Cluster.for(t, {
      engine: '28',
      provider: name,
      cloud: { sim: SIM[name], actions: RIGHTS[name] },
    });
    const { cloud } = cluster;
    if (cloud === undefined) throw new Error('this cluster has no cloud');
    const [one, two] = [cluster.member(1), cluster.member(2)];
    const talk = async (): Promise<string> => await one.whoami('first', await two.address('third'));

    await t.test('who reaches whom', async (t) => await reach(t, cluster));
    const [first, third] = [await one.address('first'), await two.address('third')];

    await t.test('every prefix has one route in the cloud, to the instance of its host', async (t) => {
      const routes = await cloud.routes();
      t.same(
        routes.map(({ prefix, target }) => `${prefix} host${cloud.hostOf(target)}`).sort(),
        [`${prefixOf(first)} host1`, `${prefixOf(third)} host2`].sort(),
      );
    });

    await t.test('at rest nothing is written', async (t) => {
      t.same(await cluster.writesAtRest(), []);
    });

    await t.test('a route removed from the cloud’s table stops its packets; reconcile brings it back', async (t) => {
      await cloud.removeRoute(prefixOf(third));
      t.equal(await talk(), '', 'no packet without a route');
      // Clouds may show a write late: for a while after its own the plugin takes a reading without it for an old one.
      await until(
        'the repair of the route',
        async () => (await two.reconcile()).some(({ What, Repaired }) => Repaired && What.includes(prefixOf(third))),
        { timeoutMs: CONSISTENCY_MS + 5_000, everyMs: 500 },
      );
      t.equal(await talk(), first);
      t.same(await two.reconcile(), []);
    });

    for (const theme of themes) {
      await cluster.clear();
      await t.test(theme.name, { timeout: 120_000 }, async (t) => await theme(t, cluster));
    }
    await lostHosts(t, cluster, cloud);

    await t.test('nothing is left over, and nothing was internal', async (t) => {
      await one.clear();
      t.same(await one.leftovers(), []);
      t.same(await cloud.routes(), []);
      for (const { plugin } of cluster.members) t.notMatch(plugin.log().join('\n'), /INTERNAL|"?at file:/);
    });
  });
}
