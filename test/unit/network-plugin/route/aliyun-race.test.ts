import t from 'tap';
import type { AliyunProvider } from '../../../../network-plugin/route/aliyun.ts';
import { overlaps, parseCidr } from '../../../../shared/cidr.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { type AliyunWorld, newWorld, started } from './aliyun-world.ts';

t.setTimeout(180_000);

const POOL = '10.64.0.0/12';
const ROUNDS = 100;
const TROUBLED_ROUNDS = 50;
/** By turns: the same prefix, one within the other, one around the other. */
const OTHERS = ['10.64.16.0/24', '10.64.16.64/26', '10.64.0.0/18'] as const;
const PREFIX = '10.64.16.0/24';

/** Both claim at once, with a start that is apart by a little, differently in each round; then both give back. */
const round = async (world: AliyunWorld, hosts: readonly [AliyunProvider, AliyunProvider], n: number) => {
  const table = world.vpc.systemTable;
  const asked = [PREFIX, OTHERS[n % OTHERS.length] ?? PREFIX] as const;
  const codes = await Promise.all(
    hosts.map(async (host, which) => {
      await new Promise((resolve) => setTimeout(resolve, which === n % 2 ? (n % 13) * 3 : 0));
      return codeOf(host.create(table, { prefix: asked[which] ?? PREFIX, pool: POOL }, context(20_000)));
    }),
  );
  // Who reads late cannot see that what it has had deleted is not gone yet.
  const standing = world.sim.routes(table).filter(({ status }) => status !== 'Deleting');
  const found = standing.map(({ prefix }) => ({ cidr: parseCidr(prefix) }));
  const clash = found.some((one) => found.some((other) => other !== one && overlaps(one.cidr, other.cidr)));
  await Promise.all(
    hosts.map((host, which) => host.remove(table, { prefix: asked[which] ?? PREFIX }, context(20_000))),
  );
  const left = world.sim.routes(table).length;
  return { codes, granted: codes.filter((code) => code === 'none').length, found: found.length, clash, left };
};

const race = async (
  t: Parameters<typeof newWorld>[0],
  times: number,
  trouble: (world: AliyunWorld, n: number) => void,
) => {
  const world = await newWorld(t, 2, { timing: { settleMs: 8, conflictMs: 5 } });
  const hosts = [await started(t, world, 0), await started(t, world, 1)] as const;
  const rounds: Awaited<ReturnType<typeof round>>[] = [];
  for (let n = 0; n < times; n += 1) {
    trouble(world, n);
    rounds.push(await round(world, hosts, n));
    world.sim.faults.clear();
  }
  return rounds;
};

const ALLOWED = new Set(['none', 'PREFIX_OWNED']);

t.test('two hosts claim at once, a hundred times: never two owners', async (t) => {
  const rounds = await race(t, ROUNDS, () => undefined);
  t.same(
    rounds.flatMap(({ codes }) => codes).filter((code) => !ALLOWED.has(code)),
    [],
  );
  t.same(
    rounds.filter(({ granted, found, clash }) => granted > 1 || clash || found !== granted),
    [],
  );
  t.same(
    rounds.filter(({ left }) => left > 0),
    [],
  );
  // Of equal prefixes one is always granted; of overlapping ones that come up at the same moment, both may go.
  t.same(
    rounds.filter(({ granted }, n) => n % OTHERS.length === 0 && granted !== 1),
    [],
  );
  t.ok(rounds.filter(({ granted }) => granted === 1).length > ROUNDS / 2);
});

t.test('the same with conflicts, throttling, lost answers and late reads', async (t) => {
  const rounds = await race(t, TROUBLED_ROUNDS, (world, n) => {
    // Neither sees the other before it writes, and both have to find out without an answer.
    world.sim.lagMs = n % 2 === 0 ? 40 : 0;
    if (n % 4 === 0) world.sim.faults.loseReply('CreateRouteEntry', { times: 2 });
    if (n % 3 === 0) world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { times: 2 });
    if (n % 3 === 1) world.sim.faults.loseReply('CreateRouteEntry');
    if (n % 5 === 0) world.sim.faults.throttle('DescribeRouteEntryList', { times: 2 });
    if (n % 7 === 0) world.sim.faults.loseReply('DeleteRouteEntry');
  });
  t.same(
    rounds.flatMap(({ codes }) => codes).filter((code) => !ALLOWED.has(code)),
    [],
  );
  t.same(
    rounds.filter(({ granted, found, clash }) => granted > 1 || clash || found !== granted),
    [],
  );
  t.same(
    rounds.filter(({ left }) => left > 0),
    [],
  );
});

t.test('two hosts take a route over at once, thirty times: one of them has it, and knows', async (t) => {
  const world = await newWorld(t, 3, { timing: { settleMs: 8, conflictMs: 5 } });
  const holder = await started(t, world, 0);
  const takers = [await started(t, world, 1), await started(t, world, 2)];
  const table = world.vpc.systemTable;
  const request = { prefix: PREFIX, pool: POOL };
  const wrong: unknown[] = [];
  for (let n = 0; n < 30; n += 1) {
    await holder.create(table, request, context(20_000));
    // In every other round the first to ask is the last to be served.
    if (n % 2 === 0) world.sim.faults.delay('ModifyRouteEntry', 25, { times: 1 });
    const former = await holder.self();
    const codes = await Promise.all(
      takers.map(async (host, which) => {
        await new Promise((resolve) => setTimeout(resolve, which === n % 2 ? n : 0));
        return codeOf(host.replace(table, request, former, context(20_000)));
      }),
    );
    const [entry] = world.sim.routes(table);
    const owner = takers[codes.indexOf('none')];
    const known = owner !== undefined && (await owner.self()).target === entry?.hop.id;
    if ([...codes].sort().join() !== 'ROUTE_CONFLICT,none' || !known) wrong.push({ n, codes, entry });
    world.sim.faults.clear();
    await Promise.all(takers.map((host) => host.remove(table, request, context(20_000))));
  }
  t.same(wrong, []);
});
