import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import type { NasProvider } from '../../../../volume-plugin/nfs/nas.ts';
import { context, nasSite } from './nas-world.ts';

t.setTimeout(120_000);

const CALLS = [
  ...['CreateFileSystem', 'CreateMountTarget', 'CreateAccessGroup', 'DeleteAccessGroup'],
  ...['DescribeFileSystems', 'DescribeMountTargets', 'DescribeAccessGroups'],
];

/** Repeats from run to run. */
const randomFrom = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    return state / 0x80000000;
  };
};

/** What a user is told to repeat. */
const isPassing = (error: unknown): boolean =>
  error instanceof PluginError && (error.retry === 'backoff' || error.code === 'DEADLINE');

/** Until it works; some give up early and begin anew. */
const persist = async <T>(random: () => number, work: (ms: number) => Promise<T>): Promise<T> => {
  for (;;) {
    try {
      return await work(random() < 0.3 ? 300 : 20_000);
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
  }
};

const round = async (t: Test, seed: number): Promise<void> => {
  const random = randomFrom(seed);
  const upTo = (most: number): number => Math.floor(random() * most);
  const waits = { staleMs: 40_000, settleMs: 2_000, appearMs: 1_200 };
  const { sim, started } = await nasSite(t, { lagMs: upTo(400) }, { waits }, 5);
  Object.assign(sim.nas.times, { createMs: upTo(800), targetMs: upTo(800) });
  for (const action of [...CALLS, ...CALLS]) {
    const where = { nth: 1 + upTo(4) };
    const kind = random();
    if (kind < 0.35) sim.faults.loseReply(action, where);
    else if (kind < 0.55) sim.faults.drop(action, where);
    else if (kind < 0.7) sim.faults.throttle(action, where);
    else if (kind < 0.8) sim.faults.delay(action, 700, { ...where, times: 1 });
  }
  const work = async (host: NasProvider): Promise<string> => {
    await pause(random() * 300);
    const id = await persist(random, (ms) => host.ensure({}, context(ms)));
    return (await persist(random, (ms) => host.locate(id, context(ms)))).id;
  };
  const hosts = await Promise.all(Array.from({ length: 8 }, (_, n) => started(n)));
  const ids = await Promise.all(hosts.map(work));
  const { fileSystems, mountTargets } = sim.nas.state();
  t.equal(new Set(ids).size, 1, `seed ${seed}: all take the same`);
  t.equal(fileSystems.length, 1, `seed ${seed}: it is made once`);
  t.equal(mountTargets.length, 2, `seed ${seed}: one mount target for each VPC`);
};

t.test(
  'of eight hosts at once one makes the file system, whatever is lost, late or refused, and whoever gives up',
  (t) => Promise.all([3, 7, 11].map((seed) => round(t, seed))),
);
