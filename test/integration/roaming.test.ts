// @timeout 7m
// An address that moves with its container: from host to host, of engines 28, 26 and 20, between hosts that live, die
// and come back.
import t, { type Test } from 'tap';
import { until } from '../rig/command.ts';
import { Cluster, IMAGE, type Member } from './support/cluster.ts';
import { stateOf } from './support/leftovers.ts';
import { pluginFolder } from './support/plugin-folder.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(420_000);

const POOL = ['--ipam-driver', 'vpc', '--subnet', '10.64.0.0/12'];
const RANGE = '10.64.200.0/24';
const ADDRESS = '10.64.200.7';
const LEASE_MS = 3_000;

/** A server under the roaming address. */
const serve = (member: Member, ...args: string[]): Promise<void> =>
  member.serve('roamer', '--network', 'web', '--ip', ADDRESS, ...args);

/** Everybody but the holder itself: hosts, and a container on each of them. All see the container's own address. */
async function reachedByAll(t: Test, cluster: Cluster, when: string): Promise<void> {
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
}

/** Claims of roaming addresses in etcd. */
async function claimsOf(cluster: Cluster): Promise<string[]> {
  const entries = (await cluster.etcd?.list('/drayage/default/routes/')) ?? [];
  return entries.flatMap(({ value }) => {
    const { prefix, host } = JSON.parse(value) as { prefix: string; host: string };
    return prefix.endsWith('/32') || prefix.endsWith('/128') ? [`${prefix} ${host}`] : [];
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
}

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

async function crashes(t: Test, cluster: Cluster): Promise<void> {
  const [one, two, three] = [cluster.member(1), cluster.member(2), cluster.member(3)];
  await t.test('a plugin that is killed while it holds an address holds it afterwards', async (t) => {
    await serve(one);
    await one.plugin.kill9();
    await reachedByAll(t, cluster, 'after kill -9 of the plugin');
    await until('an empty look', async () => (await one.reconcile(true)).length === 0);
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host1`]);
  });

  await t.test('when its host loses power, another one takes it over after the lease', async (t) => {
    await one.host.powerOff();
    const cut = performance.now();
    await until('the address on host 2', async () => (await two.docker(...TAKE)).code === 0 || (await reset(two)), {
      timeoutMs: 60_000,
      everyMs: 100,
    });
    t.comment(
      `taken over ${((performance.now() - cut) / 1000).toFixed(1)} s after the cut, lease ${LEASE_MS / 1000} s`,
    );
    await until('host 3 to follow', async () => (await three.whoami('resident', ADDRESS)) !== '');
    t.equal(await three.whoamiFromHost(ADDRESS), three.host.v4);
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host2`]);
  });

  await t.test('a former holder that comes back does not get it, and reaches the new one', async (t) => {
    await one.host.powerOn();
    await until('the plugin on host 1', async () => (await one.docker('start', 'resident')).code === 0, {
      timeoutMs: 60_000,
    });
    await reachedByAll(t, cluster, 'after host 1 is back');
    refused(t, await one.docker('start', 'roamer'), 'ADDRESS_HELD', ADDRESS, 'host host2');
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host2`]);
    t.same(
      [...(stateOf(one.host).get('addresses') ?? new Map())].filter(([key]) => key.endsWith(`|${ADDRESS}`)),
      [],
      'no record of it is left on host 1',
    );
    await one.remove('roamer');
    await two.remove('roamer');
  });
}

async function lost(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  const wayThere = async () => await one.host.must(['ip', 'route', 'show', ADDRESS]);
  await t.test('a host that was cut off for longer than its lease yields to the new holder', async (t) => {
    await serve(one);
    await cluster.rig.router.cutEtcd(1);
    await until('the end of the lease', async () => (await claimsOf(cluster)).length === 0, { timeoutMs: 15_000 });
    t.match(await wayThere(), /dev dry/, 'as long as nobody else has it, the host leads to its container');
    await serve(two);
    await cluster.rig.router.healEtcd(1);
    await until('host 1 to lead to host 2', async () => /via 10\.250\.0\.12/.test(await wayThere()), {
      timeoutMs: 20_000,
    });
    t.match(one.plugin.log().join('\n'), /ADDRESS LOST/);
    t.match(
      (await one.reconcile()).filter(({ What }) => What.includes(ADDRESS)),
      [{ What: /leads to host2: its container here is not reached/, Repaired: false }],
      'what it finds wrong is that it lost it, and no more',
    );
    t.notMatch(await one.host.must(['nft', 'list', 'map', 'inet', 'drayage', 'roam_to4']), ADDRESS);
    await reachedByAll(t, cluster, 'on the new host');
    t.equal(await one.must('inspect', '-f', '{{.State.Running}}', 'roamer'), 'true', 'the former container goes on');
    await one.remove('roamer');
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host2`], 'its end takes nothing away');
    await reachedByAll(t, cluster, 'afterwards');
    await two.remove('roamer');
  });

  await t.test('and has it again when the other one has gone', async (t) => {
    await serve(one);
    await cluster.rig.router.cutEtcd(1);
    await until('the end of the lease', async () => (await claimsOf(cluster)).length === 0, { timeoutMs: 15_000 });
    await serve(two);
    await cluster.rig.router.healEtcd(1);
    await until('host 1 to yield', async () => /via/.test(await wayThere()), { timeoutMs: 20_000 });
    await two.remove('roamer');
    await until('host 1 to hear of it', async () => (await wayThere()) === '');
    t.match(
      (await one.reconcile()).filter(({ What }) => What.includes(ADDRESS)),
      [{ What: /held again/, Repaired: true }, { Repaired: true }],
      'the claim, then the route',
    );
    await reachedByAll(t, cluster, 'on its former host');
    await one.remove('roamer');
    t.same(await claimsOf(cluster), []);
  });

  await t.test('or when nobody took it', async (t) => {
    await serve(one);
    await cluster.rig.router.cutEtcd(1);
    await until('the end of the lease', async () => (await claimsOf(cluster)).length === 0, { timeoutMs: 15_000 });
    await cluster.rig.router.healEtcd(1);
    await until('the claim', async () => (await claimsOf(cluster)).length === 1, { timeoutMs: 20_000 });
    await reachedByAll(t, cluster, 'again');
    await one.remove('roamer');
  });
}

const TAKE = ['run', '-d', '--init', '--name', 'roamer', '--network', 'web', '--ip', ADDRESS].concat([
  IMAGE,
  'httpd',
  '-f',
  '-h',
  '/www',
]);

/** A failed `docker run` leaves its container behind. Always false. */
async function reset(member: Member): Promise<boolean> {
  await member.docker('rm', '-f', 'roamer');
  return false;
}

t.test('roaming addresses', async (t) => {
  const cluster = await Cluster.for(t, {
    hosts: 3,
    engine: ['28', '26', '20'],
    env: { ETCD_LEASE: `${LEASE_MS / 1000}s` },
    plugin: await pluginFolder(),
  });
  await cluster.createNetwork('web', ...POOL, '-o', `roaming=${RANGE}`);
  for (const member of cluster.members) await member.serve('resident', '--network', 'web');

  await moves(t, cluster);
  await refusals(t, cluster);
  await policies(t, cluster);
  await lost(t, cluster);
  await crashes(t, cluster);

  await t.test('in the end nothing is left over', async (t) => {
    for (const member of cluster.members) await member.remove('resident');
    await cluster.removeNetwork('web');
    t.same(await cluster.leftoversInTheEnd(), []);
    for (const { plugin } of cluster.members) t.notMatch(plugin.log().join('\n'), /INTERNAL|"?at file:/);
  });
});
