/** What becomes of addresses and prefixes when their container moves, or their host is stopped or terminated. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { RigCloud } from '../../rig/cloud.ts';
import type { CloudName } from '../../rig/cloud-router.ts';
import type { Cluster } from '../support/cluster.ts';
import type { Member } from '../support/member.ts';
import { refused } from '../support/refusal.ts';
import { ADDRESS, POOL, serve } from '../support/roaming.ts';

/** What takes a route over in one step, and what would leave a gap. */
const TAKEOVER = {
  aws: { replace: 'ReplaceRoute', remove: 'DeleteRoute' },
  aliyun: { replace: 'ModifyRouteEntry', remove: 'DeleteRouteEntr*' },
} as const satisfies Record<CloudName, { replace: string; remove: string }>;

/** A host that was looked at a moment ago is not looked at again at once. */
const LOOK_AGAIN_MS = 2_500;

/** The prefix of a container's address. */
export const prefixOf = (address: string): string => address.replace(/\.\d+$/, '.0/24');

/** Host 2 does not live to see the end. */
export async function lostHosts(t: Test, cluster: Cluster, cloud: RigCloud): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.clear();
  await cluster.createNetwork('web', ...POOL);
  await one.serve('first', '--network', 'web');
  await two.serve('third', '--network', 'web');
  const prefix = prefixOf(await two.address('third'));
  const holder = async (of: string): Promise<readonly unknown[]> =>
    (await cloud.routes()).flatMap((each) => (each.prefix === of ? [each.state, cloud.hostOf(each.target)] : []));

  await t.test('a container keeps its address when it moves to another host', async (t) => {
    await serve(one);
    t.same(await holder(`${ADDRESS}/32`), ['active', 1]);
    t.equal(await two.whoami('third', ADDRESS), await two.address('third'), 'reached from the other host');
    const second = await two.docker('run', '--rm', '--network', 'web', '--ip', ADDRESS, 'drayage/box:1', 'true');
    refused(t, second, 'ADDRESS_HELD', ADDRESS, 'host1');
    await one.remove('roamer');
    t.same(await holder(`${ADDRESS}/32`), []);
    await serve(two);
    t.same(await holder(`${ADDRESS}/32`), ['active', 2]);
    t.equal(await one.whoami('first', ADDRESS), await one.address('first'), 'and here');
    t.equal(await two.whoami('roamer', await one.address('first')), ADDRESS, 'under its own address');
  });

  await two.host.powerOff();
  await t.test('a host that is only silent keeps what it has', async (t) => {
    refused(t, await address(one), 'ADDRESS_HELD', ADDRESS, 'host2');
    refused(t, await claim(one, prefix), 'PREFIX_OWNED', prefix, 'host2');
  });

  await t.test('a host that is stopped: its roaming address goes with its container, in one step', async (t) => {
    await cloud.stop(2);
    await inOneStep(t, cloud, () => address(one));
    t.same(await holder(`${ADDRESS}/32`), ['active', 1]);
    await one.untilServes('roamer');
    t.equal(await one.whoami('first', ADDRESS), await one.address('first'));
    refused(t, await claim(one, prefix), 'PREFIX_OWNED', prefix, 'host2');
  });

  await t.test('a host that is terminated: its black hole is taken over by the next claim', async (t) => {
    await cloud.terminate(2);
    t.same(await holder(prefix), ['blackhole', 2]);
    await inOneStep(t, cloud, () => claim(one, prefix));
    t.same(await holder(prefix), ['active', 1]);
    await one.serve('heir', '--network', 'heir');
    t.equal(prefixOf(await one.address('heir')), prefix);
    t.equal(await one.whoami('heir', await one.address('first')), await one.address('heir'));
  });
}

const claim = (on: Member, prefix: string): ReturnType<Member['docker']> =>
  on.docker('network', 'create', '-d', 'vpc', '--subnet', prefix, 'heir');

/** A server under the roaming address; what is left of one that did not start is removed. */
async function address(on: Member): ReturnType<Member['docker']> {
  const outcome = await on.docker(
    ...['run', '-d', '--init', '--name', 'roamer', '--network', 'web', '--ip', ADDRESS],
    ...['drayage/box:1', 'httpd', '-f', '-h', '/www'],
  );
  if (outcome.code !== 0) await on.docker('rm', '-f', 'roamer');
  return outcome;
}

/** The command succeeds, and replaces a route: nothing was removed before. */
async function inOneStep(t: Test, cloud: RigCloud, command: () => ReturnType<Member['docker']>): Promise<void> {
  await sleep(LOOK_AGAIN_MS);
  const { replace, remove } = TAKEOVER[cloud.name];
  const { number: last = 0 } = (await cloud.calls()).at(-1) ?? {};
  const outcome = await command();
  t.equal(outcome.code, 0, outcome.stderr);
  t.equal((await cloud.calls({ action: replace, after: last, code: 'OK' })).length, 1, 'in one step');
  t.same(await cloud.calls({ action: remove, after: last }), []);
}
