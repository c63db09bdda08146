// @timeout 6m
// An address that moves with its container between two hosts of a simulated cloud: its route table alone says where.
import t, { type Test } from 'tap';
import type { RigCloud } from '../rig/cloud.ts';
import type { CloudName } from '../rig/cloud-router.ts';
import { until } from '../rig/command.ts';
import { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';
import { ADDRESS, POOL, RANGE, serve } from './support/roaming.ts';

t.setTimeout(360_000);

/** What takes a route over in one step, and what would leave a gap. */
const TAKEOVER = {
  aws: { replace: 'ReplaceRoute', remove: 'DeleteRoute' },
  aliyun: { replace: 'ModifyRouteEntry', remove: 'DeleteRouteEntr*' },
} as const satisfies Record<CloudName, { replace: string; remove: string }>;

/** Host numbers that the cloud leads the address to. */
const ledTo = async (cloud: RigCloud): Promise<(number | undefined)[]> =>
  (await cloud.routes()).flatMap(({ prefix, target }) => (prefix === `${ADDRESS}/32` ? [cloud.hostOf(target)] : []));

async function answers(t: Test, holder: Member, other: Member): Promise<void> {
  const [resident, neighbour] = [await other.address('resident'), await holder.address('resident')];
  await until(`an answer on ${holder.name}`, async () => (await other.whoami('resident', ADDRESS)) !== '');
  t.equal(await other.whoami('resident', ADDRESS), resident, `${other.name} reaches it on ${holder.name}`);
  t.equal(await holder.whoami('resident', ADDRESS), neighbour, 'so does a neighbour');
  t.equal(await holder.whoami('roamer', resident), ADDRESS, 'and it reaches them');
}

for (const name of ['aws', 'aliyun'] as const) {
  t.test(`roaming addresses on ${name}`, async (t) => {
    const cluster = await Cluster.for(t, { engine: '28', provider: name });
    const { cloud } = cluster;
    if (cloud === undefined) throw new Error('this cluster has no cloud');
    const [one, two] = [cluster.member(1), cluster.member(2)];
    for (const member of cluster.members) {
      await member.createNetwork('web', ...POOL, '-o', `roaming=${RANGE}`);
      await member.serve('resident', '--network', 'web');
    }

    await t.test('the cloud leads the address to the host of its container', async (t) => {
      for (const [holder, other, number] of [
        [one, two, 1],
        [two, one, 2],
        [one, two, 1],
      ] as const) {
        await serve(holder);
        t.same(await ledTo(cloud), [number]);
        await answers(t, holder, other);
        await holder.must('stop', '-t', '0', 'roamer');
        t.same(await ledTo(cloud), [], 'when `docker stop` has returned the route is gone');
        await holder.remove('roamer');
      }
    });

    await t.test('two live holders are refused', async (t) => {
      await serve(one);
      const again = ['run', '--rm', '--network', 'web', '--ip', ADDRESS, IMAGE, 'true'];
      refused(t, await two.docker(...again), 'ADDRESS_HELD', ADDRESS, 'host1');
      t.same(await ledTo(cloud), [1]);
      await one.remove('roamer');
    });

    await t.test('of a host that is terminated it is taken over in one step', async (t) => {
      await serve(one);
      await one.host.powerOff();
      await cloud.terminate(1);
      const { number: last = 0 } = (await cloud.calls()).at(-1) ?? {};
      await serve(two);
      t.same(await ledTo(cloud), [2]);
      t.equal(await two.whoami('resident', ADDRESS), await two.address('resident'));
      const { replace, remove } = TAKEOVER[name];
      t.equal((await cloud.calls({ action: replace, after: last, code: 'OK' })).length, 1);
      t.same(await cloud.calls({ action: remove, after: last }), [], 'without a gap');
      await two.remove('roamer');
      t.same(await ledTo(cloud), []);
    });
  });
}
