// @timeout 6m
// Roaming addresses of hosts that die, are cut off, and come back; of plugins and engines that are killed.
import t, { type Test } from 'tap';
import { CommandError, exit } from '../../bin/cli/client.ts';
import { until } from '../rig/command.ts';
import type { Cluster } from './support/cluster.ts';
import { stateOf } from './support/leftovers.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';
import { ADDRESS, claimsOf, LEASE_MS, nothingLeft, reachedByAll, roamingCluster, serve } from './support/roaming.ts';

t.setTimeout(360_000);

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

/** When the address was claimed, as etcd has it. */
async function claimedAt(cluster: Cluster): Promise<string> {
  const [entry] = (await cluster.etcd?.list(`/drayage/default/routes/${ADDRESS}`)) ?? [];
  return (JSON.parse(entry?.value ?? '{}') as { claimedAt?: string }).claimedAt ?? 'never';
}

async function engines(t: Test, cluster: Cluster): Promise<void> {
  const one = cluster.member(1);
  const { engine } = one.host;
  const back = async (): Promise<void> => {
    for (const name of ['resident', 'roamer']) {
      await until(`${name} to run`, async () => (await one.docker('start', name)).code === 0, { timeoutMs: 30_000 });
      await one.untilServes(name);
    }
  };
  await t.test('an engine that restarts, or is killed, has the address afterwards', async (t) => {
    await serve(one);
    await engine.restart();
    await back();
    await reachedByAll(t, cluster, 'after a restart of the engine');
    await engine.kill9();
    await engine.start();
    await back();
    await reachedByAll(t, cluster, 'after kill -9 of the engine');
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host1`]);
  });

  await t.test('with live-restore it has it all the while', async (t) => {
    await engine.restart({ liveRestore: true });
    await back();
    const since = await claimedAt(cluster);
    await engine.kill9();
    t.not(await cluster.member(2).whoamiFromHost(ADDRESS), '', 'while there is no engine');
    await engine.start();
    await reachedByAll(t, cluster, 'after kill -9 of the engine');
    t.same(await claimsOf(cluster), [`${ADDRESS}/32 host1`]);
    t.equal(await claimedAt(cluster), since, 'it is the same claim');
    await one.remove('roamer');
    t.same(await claimsOf(cluster), []);
    await engine.restart({ liveRestore: false });
    await until('the resident', async () => (await one.docker('start', 'resident')).code === 0);
  });
}

async function crashes(t: Test, cluster: Cluster): Promise<void> {
  const [one, two, three] = [cluster.member(1), cluster.member(2), cluster.member(3)];
  await t.test('a plugin that is killed while it holds an address holds it afterwards', async (t) => {
    await serve(one);
    await one.plugin.kill9();
    await reachedByAll(t, cluster, 'after kill -9 of the plugin');
    const hasStarted = () =>
      one.reconcile(true).then(
        () => true,
        (error: unknown) => {
          const isStarting =
            error instanceof CommandError &&
            (error.exitCode === exit.unreachable || error.message.startsWith('NOT_READY: '));
          if (isStarting) return false;
          throw error;
        },
      );
    await until('the plugin to have read its state', hasStarted, { timeoutMs: 20_000 });
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

t.test('roaming addresses in trouble', async (t) => {
  const cluster = await roamingCluster(t);
  await lost(t, cluster);
  await engines(t, cluster);
  await crashes(t, cluster);
  await nothingLeft(t, cluster);
});
