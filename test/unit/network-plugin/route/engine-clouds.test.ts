// The route engine on both simulated clouds, through their official clients: several tables, and readings that lag.
import t, { type Test } from 'tap';
import { RouteEngine } from '../../../../network-plugin/route/engine.ts';
import type { RouteProvider } from '../../../../network-plugin/route/provider.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import type { CloudControls } from '../../../conformance/cloud-provider.ts';
import { context } from '../../../conformance/route-provider.ts';
import { newWorld } from './aliyun-world.ts';
import { awsWorld } from './aws-world.ts';
import { errorOf } from './engine-cloud.ts';
import { FakeKernel } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

t.setTimeout(120_000);

const POOL = '10.64.0.0/12';
const LAG_MS = 150;

interface Scene {
  readonly cloud: CloudControls;
  provider(n: number): RouteProvider;
  lag(ms: number): void;
}

const CLOUDS: Readonly<Record<string, (t: Test) => Promise<Scene>>> = {
  aws: async (t) => {
    const { controls, provider, sim } = await awsWorld(t, 3);
    const lag = (ms: number): void => {
      sim.lagMs = ms;
    };
    return { cloud: controls, provider: (n) => provider(n), lag };
  },
  aliyun: async (t) => {
    const { cloud, host, sim } = await newWorld(t, 3);
    const lag = (ms: number): void => {
      sim.lagMs = ms;
    };
    return { cloud, provider: (n) => host(n), lag };
  },
};

interface Host {
  readonly engine: RouteEngine;
  readonly store: MemoryStore<NetworkState>;
}

for (const [name, scene] of Object.entries(CLOUDS)) {
  t.test(name, async (t) => {
    const { cloud, provider, lag } = await scene(t);
    const tables = 3;
    for (let n = 1; n < tables; n += 1) cloud.addTable();
    const via = cloud.gateway();
    lag(LAG_MS);
    const peers = [{ prefix: parseCidr('10.72.0.0/16'), via }];
    const host = async (n: number, store = new MemoryStore<NetworkState>()): Promise<Host> => {
      const engine = new RouteEngine({
        ...{ provider: provider(n), store, kernel: new FakeKernel(), log: silentLogger, home: [POOL], peers },
        peersIn: 'tables',
      });
      t.teardown(() => engine.close(context()));
      await engine.start(context());
      await until('it is at work', () => engine.status().reachable);
      return { engine, store };
    };
    const [one, two] = await Promise.all([host(0), host(1)]);
    /** Rows of a prefix that are active and say nothing else. */
    const rows = async ({ engine }: Host, prefix: string): Promise<number> => {
      await engine.reconcile(true, context(60_000));
      return engine.rows().filter((row) => row.prefix === prefix && row.state === 'active' && row.drift === undefined)
        .length;
    };
    const settled = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, 2 * LAG_MS));
      for (const { engine } of [one, two]) await engine.reconcile(true, context(60_000));
    };

    await t.test('PEERS are in every table', async (t) => {
      await until('they are there', async () => (await rows(one, '10.72.0.0/16')) === tables);
      t.equal(one.engine.rows().find((row) => row.prefix === '10.72.0.0/16')?.nextHop, via);
    });

    await t.test('how full each table is, is told once', async (t) => {
      const found = await one.engine.findings(context());
      t.equal(found.filter(({ check }) => check === 'route quota').length, tables);
    });

    const [mine, theirs] = await Promise.all(
      [one, two].map(({ engine }) => engine.claimFree({ pool: POOL, length: 24 }, context(60_000))),
    );
    if (mine === undefined || theirs === undefined) throw new Error('a claim without a prefix');

    await t.test('hosts that claim at once have a prefix each, in all tables', async (t) => {
      t.not(mine, theirs);
      await settled();
      t.equal(await rows(one, mine), tables);
      t.equal(await rows(one, theirs), tables);
      t.match(one.engine.ownerOf(theirs.replace('.0/24', '.9')), { ours: false, prefix: theirs });
    });

    await t.test('in steady state nothing is written', async (t) => {
      await settled();
      const before = cloud.writes();
      for (const { engine } of [one, two]) t.same(await engine.reconcile(true, context()), []);
      t.equal(cloud.writes(), before);
    });

    await t.test('a prefix of the other is refused with its owner, and nothing is written', async (t) => {
      const before = cloud.writes();
      const owner = two.engine.ownerOf(mine.replace('.0/24', '.9'))?.host;
      t.match(await errorOf(two.engine.claim(mine, POOL, context(60_000))), {
        code: 'PREFIX_OWNED',
        context: { owner },
      });
      t.equal(cloud.writes() - before <= 1, true, 'at most the attempt');
    });

    await t.test('an address goes from one to the other while the first gives it up', async (t) => {
      await one.engine.claimAddress('10.79.200.7', POOL, context(60_000));
      const moving = two.engine.claimAddress('10.79.200.7', POOL, context(60_000));
      await one.engine.releaseAddress('10.79.200.7', context(60_000));
      await moving;
      await settled();
      t.equal(await rows(two, '10.79.200.7/32'), tables);
      t.match(one.engine.ownerOf('10.79.200.7'), { ours: false });
    });

    await t.test('a restart finds all as it was', async (t) => {
      await one.engine.close(context());
      const before = cloud.writes();
      const again = await host(0, one.store);
      await settled().catch(() => undefined);
      t.same(await again.engine.reconcile(true, context()), []);
      t.equal(cloud.writes(), before);
      await again.engine.close(context());
    });

    await t.test('what a host that is gone had goes to who asks for it, in all tables', async (t) => {
      cloud.terminate(0);
      await new Promise((resolve) => setTimeout(resolve, 2 * LAG_MS));
      await two.engine.claim(mine, POOL, context(60_000));
      await until('it is there', async () => (await rows(two, mine)) === tables);
      t.equal(two.store.get('claims', mine)?.phase, 'held');
    });

    await t.test('a release leaves nothing in any table', async (t) => {
      for (const prefix of [mine, theirs]) await two.engine.release(prefix, context(60_000));
      await two.engine.releaseAddress('10.79.200.7', context(60_000));
      await new Promise((resolve) => setTimeout(resolve, 2 * LAG_MS));
      await two.engine.reconcile(true, context(60_000));
      t.same(
        two.engine.rows().map((row) => row.prefix),
        Array.from({ length: tables }, () => '10.72.0.0/16'),
      );
    });
  });
}
