// What a host needs of its cloud beside routes: AWS's source/dest check, which somebody may turn on again.
import t, { type Test } from 'tap';
import { RouteEngine } from '../../../../network-plugin/route/engine.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { context } from '../../../conformance/route-provider.ts';
import { awsWorld } from './aws-world.ts';
import { FakeKernel } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

const MINUTES = 60_000;

const scene = async (t: Test, { dryRun = false } = {}) => {
  const { sim, hosts, provider } = await awsWorld(t, 1);
  const [host] = hosts;
  if (host === undefined) throw new Error('no host');
  const clock = { now: 1_800_000_000_000 };
  const engine = new RouteEngine({
    ...{ provider: provider(0), store: new MemoryStore<NetworkState>(), kernel: new FakeKernel() },
    ...{ log: silentLogger, home: ['10.64.0.0/12'], peersIn: 'tables', now: () => clock.now, dryRun },
  });
  t.teardown(() => engine.close(context()));
  await engine.start(context());
  await until('it is at work', () => engine.status().reachable);
  /** One pass, with the calls that it cost. */
  const pass = async (repair: boolean, routine: boolean) => {
    const before = sim.calls({ service: 'ec2' }).length;
    const drift = await engine.reconcile(repair, context(), routine);
    return {
      drift,
      calls: sim
        .calls({ service: 'ec2' })
        .slice(before)
        .map(({ action }) => action),
    };
  };
  return { sim, eni: host.eni, clock, pass };
};

t.test('a source/dest check that somebody turned on again', async (t) => {
  const { sim, eni, clock, pass } = await scene(t);
  t.equal(sim.sourceDestCheck(eni), false, 'off before anything else');
  const what = `the source/dest check was on on ${eni}: AWS drops what containers send and get`;

  await t.test('costs no call of a routine pass while the last look is young', async (t) => {
    for (let n = 0; n < 3; n += 1) t.same(await pass(true, true), { drift: [], calls: ['DescribeRouteTables'] });
  });

  await t.test('is drift of a pass that was asked for, at once, and repaired', async (t) => {
    sim.setSourceDestCheck(eni, true);
    t.same(await pass(true, true), { drift: [], calls: ['DescribeRouteTables'] });
    t.same(await pass(true, false), {
      drift: [{ what, repaired: true }],
      calls: ['DescribeRouteTables', 'DescribeNetworkInterfaces', 'ModifyNetworkInterfaceAttribute'],
    });
    t.equal(sim.sourceDestCheck(eni), false);
    t.same(await pass(true, false), { drift: [], calls: ['DescribeRouteTables', 'DescribeNetworkInterfaces'] });
  });

  await t.test('is told and left where nothing is to be repaired', async (t) => {
    sim.setSourceDestCheck(eni, true);
    t.same((await pass(false, false)).drift, [{ what, repaired: false }]);
    t.equal(sim.sourceDestCheck(eni), true);
  });

  await t.test('is found by a routine pass five minutes later', async (t) => {
    t.same((await pass(true, true)).drift, []);
    clock.now += 5 * MINUTES;
    t.same((await pass(true, true)).drift, [{ what, repaired: true }]);
    t.equal(sim.sourceDestCheck(eni), false);
    t.same(await pass(true, true), { drift: [], calls: ['DescribeRouteTables'] }, 'and not looked at each time');
  });

  await t.test('that cannot be looked at is drift, and does not keep routes from being repaired', async (t) => {
    const fault = sim.faults.fail('DescribeNetworkInterfaces', 'UnauthorizedOperation', { times: 10 });
    t.match(await pass(true, false), {
      drift: [
        {
          what: /^what this host needs of aws could not be looked at: .*ec2:DescribeNetworkInterfaces/,
          repaired: false,
        },
      ],
    });
    fault.remove();
  });
});

t.test('a dry run tells of the source/dest check and leaves it', async (t) => {
  const { sim, eni, pass } = await scene(t, { dryRun: true });
  t.equal(sim.sourceDestCheck(eni), true);
  t.match((await pass(true, false)).drift, [{ what: new RegExp(eni), repaired: false }]);
  t.equal(sim.sourceDestCheck(eni), true);
});
