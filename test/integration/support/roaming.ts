/** A cluster whose hosts have one network with addresses that roam, and a container that stays on each of them. */
import type { Test } from 'tap';
import { until } from '../../rig/command.ts';
import { Cluster } from './cluster.ts';
import type { Member } from './member.ts';

export const POOL = ['--ipam-driver', 'vpc', '--subnet', '10.64.0.0/12'];
export const RANGE = '10.64.200.0/24';
export const ADDRESS = '10.64.200.7';
export const LEASE_MS = 3_000;

/** Three hosts of engines 28, 26 and 20. */
export async function roamingCluster(t: Test): Promise<Cluster> {
  const cluster = await Cluster.for(t, {
    hosts: 3,
    engine: ['28', '26', '20'],
    env: { ETCD_LEASE: `${LEASE_MS / 1000}s` },
  });
  await cluster.createNetwork('web', ...POOL, '-o', `roaming=${RANGE}`);
  for (const member of cluster.members) await member.serve('resident', '--network', 'web');
  return cluster;
}

/** The last test of a file: everything is taken away, and then nothing may be left. */
export async function nothingLeft(t: Test, cluster: Cluster): Promise<void> {
  await t.test('in the end nothing is left over', async (t) => {
    for (const member of cluster.members) await member.remove('resident');
    await cluster.removeNetwork('web');
    t.same(await cluster.leftoversInTheEnd(), []);
    for (const { plugin } of cluster.members) t.notMatch(plugin.log().join('\n'), /INTERNAL|"?at file:/);
  });
}

/** A server under the roaming address. */
export const serve = (member: Member, ...args: string[]): Promise<void> =>
  member.serve('roamer', '--network', 'web', '--ip', ADDRESS, ...args);

/** Everybody but the holder itself: hosts, and a container on each of them. All see the container's own address. */
export async function reachedByAll(t: Test, cluster: Cluster, when: string): Promise<void> {
  await until(`${ADDRESS} to be reached by all ${when}`, async () => {
    const answers = await Promise.all(cluster.members.map((member) => member.whoami('resident', ADDRESS)));
    return answers.every((answer) => answer !== '');
  });
  for (const member of cluster.members) {
    const resident = await member.address('resident');
    t.equal(await member.whoami('resident', ADDRESS), resident, `the container on ${member.name} reaches it ${when}`);
    t.equal(await member.whoamiFromHost(ADDRESS), member.host.v4, `${member.name} itself reaches it ${when}`);
  }
}

/** Claims of roaming addresses in etcd. */
export async function claimsOf(cluster: Cluster): Promise<string[]> {
  const entries = (await cluster.etcd?.list('/drayage/default/routes/')) ?? [];
  return entries.flatMap(({ value }) => {
    const { prefix, host } = JSON.parse(value) as { prefix: string; host: string };
    return prefix.endsWith('/32') || prefix.endsWith('/128') ? [`${prefix} ${host}`] : [];
  });
}
