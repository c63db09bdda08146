// @timeout 6m
// An address that moves with its container, from host to host, of engines 28, 26 and 20.
import t, { type Test } from 'tap';
import { until } from '../rig/command.ts';
import type { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';
import { ADDRESS, claimsOf, nothingLeft, POOL, RANGE, reachedByAll, roamingCluster, serve } from './support/roaming.ts';

t.setTimeout(360_000);

/** The roaming container reaches the residents, under its own address. */
async function reachesAll(t: Test, cluster: Cluster, holder: Member, when: string): Promise<void> {
  for (const member of cluster.members) {
    const resident = await member.address('resident');
    t.equal(await holder.whoami('roamer', resident), ADDRESS, `it reaches the container on ${member.name} ${when}`);
  }
}

async function moves(t: Test, cluster: Cluster): Promise<void> {
  const [one] = cluster.members;
  if (one === undefined) throw new Error('a cluster without hosts');
  await t.test('a container keeps its address on whichever host it runs', async (t) => {
    for (const [index, member] of [...cluster.members, one].entries()) {
      const when = `(run ${index + 1}, on ${member.name} with engine ${member.host.engine.files.version})`;
      await serve(member, '-p', '8088:80');
      t.equal(await member.address('roamer'), ADDRESS);
      await reachedByAll(t, cluster, when);
      await reachesAll(t, cluster, member, when);
      t.not(await cluster.whoamiFromWorld(`${member.host.v4}:8088`), '', `a published port leads to it ${when}`);
      t.same(await member.reconcile(true), [], `nothing drifts ${when}`);
      await member.must('restart', '-t', '0', 'roamer');
      await member.untilServes('roamer');
      await reachedByAll(t, cluster, `after a restart ${when}`);
      await member.remove('roamer');
      t.same(await claimsOf(cluster), [], `when the container is gone, so is the claim ${when}`);
      t.notOk(await member.pings(undefined, ADDRESS));
    }
  });

  await t.test('over IPv6 as well', async (t) => {
    const six = 'fd64:6472:7961:f::7';
    const pools = ['--ipv6', '--subnet', '10.64.0.0/12', '--subnet', 'fd64:6472:7961::/48'];
    await cluster.createNetwork('six', '--ipam-driver', 'vpc', ...pools);
    for (const member of cluster.members) await member.serve('stays', '--network', 'six');
    for (const [index, member] of cluster.members.entries()) {
      await member.serve('roamer', '--network', 'six', '--ip6', six);
      for (const other of cluster.members) {
        const stays = await other.address('stays', 'six', 'GlobalIPv6Address');
        await until(`the way from ${other.name}`, async () => (await other.whoami('stays', `[${six}]`)) !== '');
        t.equal(await other.whoami('stays', `[${six}]`), stays, `${other.name} reaches it on host ${index + 1}`);
        t.equal(await member.whoami('roamer', `[${stays}]`), six, `and it reaches ${other.name}`);
      }
      t.same(await claimsOf(cluster), [`${six}/128 ${member.name}`]);
      await member.remove('roamer');
    }
    for (const member of cluster.members) await member.remove('stays');
    await cluster.removeNetwork('six');
  });
}

async function refusals(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await serve(one);
  const again = (member: Member, address: string) =>
    member.docker('run', '--rm', '--network', 'web', '--ip', address, IMAGE, 'true');

  await t.test('two live holders are refused, and the holder’s host is named', async (t) => {
    refused(t, await again(two, ADDRESS), 'ADDRESS_HELD', ADDRESS, 'host host1', 'Stop its container on host1');
    t.not(await two.whoamiFromHost(ADDRESS), '', 'the holder is not disturbed');
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host1`]);
    refused(t, await again(one, ADDRESS), 'ADDRESS_IN_USE', ADDRESS);
    t.not(await one.whoamiFromHost(ADDRESS), '', 'nor on its own host');
  });

  await t.test('an address of another host’s prefix, of no pool, or of a gateway does not roam', async (t) => {
    const [prefix = ''] = (await two.networks('web'))[0]?.Prefixes ?? [];
    refused(t, await again(one, prefix.replace(/0\/24$/, '99')), 'ADDRESS_ELSEWHERE', 'host host2');
    const gateway = ['--gateway', '10.64.201.1', 'refused'];
    const outcome = await one.docker('network', 'create', '-d', 'vpc', ...POOL, ...gateway);
    refused(t, outcome, 'ADDRESS_OUTSIDE', '10.64.201.1');
  });

  await t.test('no prefix of this host lies in a roaming range', async (t) => {
    const range = ['--ip-range', RANGE, 'refused'];
    const outcome = await one.docker('network', 'create', '-d', 'vpc', ...POOL, ...range);
    refused(t, outcome, 'PREFIX_OVERLAP', RANGE, 'roaming');
    const stray = await one.docker('network', 'create', '-d', 'vpc', ...POOL, '-o', 'roaming=10.99.0.0/24', 'refused');
    refused(t, stray, 'OPTION_INVALID', 'roaming', '10.99.0.0/24', '10.64.0.0/12');
  });
  await one.remove('roamer');

  await t.test('of hosts that ask at the same moment one gets it, and the others are told who', async (t) => {
    const outcomes = await Promise.all(cluster.members.map((member) => member.docker(...RUN)));
    const winner = outcomes.findIndex(({ code }) => code === 0);
    t.equal(outcomes.filter(({ code }) => code === 0).length, 1);
    for (const [index, outcome] of outcomes.entries()) {
      if (index !== winner) refused(t, outcome, 'ADDRESS_HELD', ADDRESS, `host host${winner + 1}`);
    }
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host${winner + 1}`]);
    await reachedByAll(t, cluster, 'on the winner');
    for (const member of cluster.members) await member.remove('roamer');
  });
}

const RUN = [
  ...['run', '-d', '--init', '--name', 'roamer', '--network', 'web', '--ip', ADDRESS],
  ...[IMAGE, 'httpd', '-f', '-h', '/www'],
];

async function policies(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await t.test('isolation and --internal treat it as its network’s own', async (t) => {
    await cluster.createNetwork('other', '--ipam-driver', 'vpc', '--subnet', '10.80.0.0/12');
    await cluster.createNetwork('shut', '--ipam-driver', 'vpc', '--subnet', '10.96.0.0/16', '--internal');
    await serve(one);
    for (const member of [one, two]) {
      await member.box('stranger', '--network', 'other');
      t.equal(await member.whoami('stranger', ADDRESS), '', `another pool on ${member.name} does not get in`);
    }
    await one.serve('inmate', '--network', 'shut', '--ip', '10.96.200.7');
    await two.box('visitor', '--network', 'shut');
    await until('the way to 10.96.200.7', async () => (await two.whoami('visitor', '10.96.200.7')) !== '');
    await one.serveOnHost(8099);
    t.equal(await one.whoami('roamer', `${one.host.v4}:8099`), ADDRESS, 'it reaches its host');
    t.equal(await one.whoami('inmate', `${one.host.v4}:8099`), '', 'not in an internal network');
    t.equal(await one.whoami('inmate', ADDRESS), '', 'from where it gets nowhere');
    t.equal(await two.whoami('stranger', '10.96.200.7'), '', 'and nobody of another pool gets there');
    t.equal(await two.whoamiFromHost('10.96.200.7'), '', 'nor does another host');
    await one.remove('roamer', 'stranger', 'inmate');
    await two.remove('stranger', 'visitor');
    await cluster.removeNetwork('other', 'shut');
  });

  await t.test('what leaves towards the world is masqueraded as for others', async (t) => {
    await one.box('roamer', '--network', 'web', '--ip', ADDRESS);
    const outcome = await one.inside('roamer', 'wget', '-T', '2', '-qO-', `http://${cluster.rig.world.v4}/`);
    t.equal(outcome.stdout.trim(), one.host.v4);
    await one.remove('roamer');
  });
}

t.test('roaming addresses', async (t) => {
  const cluster = await roamingCluster(t);
  await moves(t, cluster);
  await refusals(t, cluster);
  await policies(t, cluster);
  await nothingLeft(t, cluster);
});
