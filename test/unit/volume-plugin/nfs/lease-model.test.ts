import t from 'tap';
import { LEASE_TIMES } from '../../../../volume-plugin/nfs/lease-times.ts';
import { type Outcome, type Play, play } from './lease-model.ts';

t.setTimeout(120_000);

const HOSTS = 3;
const CALM = { loses: 0, slow: 0, slowMs: 0 };
const FOUL = { loses: 0.01, slow: 0.02, slowMs: 30_000 };
const NONE = { freezeMs: 0, cutMs: 0, downMs: 0, stopMs: 0, power: false, chance: 0.3 };

/** Plays, of half an hour each, and what came of all. */
const all = async (seeds: readonly number[], how: Omit<Play, 'hosts' | 'ms'>) => {
  const outcomes: Outcome[] = [];
  for (const seed of seeds) outcomes.push(await play(seed, { hosts: HOSTS, ms: 1_800_000, ...how }));
  const sum = (of: (outcome: Outcome) => number): number => outcomes.reduce((total, one) => total + of(one), 0);
  return {
    takes: sum(({ takes }) => takes),
    takenOver: sum(({ takenOver }) => takenOver),
    lost: sum(({ lost }) => lost),
    overlaps: outcomes.flatMap(({ overlaps }, index) => overlaps.map((one) => ({ seed: seeds[index], ...one }))),
    codes: new Set(outcomes.flatMap(({ errors }) => Object.keys(errors))),
    reached: outcomes.every(({ reached }) => reached.length === HOSTS),
    mostFiles: Math.max(...outcomes.map(({ files }) => files.length)),
  };
};

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** What may come of them and is no fault. */
const isExpected = (code: string): boolean =>
  ['VOLUME_BUSY', 'VOLUME_IN_USE', 'SHARE_SILENT', 'DEADLINE', 'NOT_READY'].includes(code);

t.test('whatever is lost, late or cut off, and whoever loses power, no two hosts write at once', async (t) => {
  const accidents = { ...NONE, cutMs: 90_000, power: true };
  const { takes, takenOver, lost, overlaps, codes, reached, mostFiles } = await all(range(1, 8), {
    ...{ weather: FOUL, accidents },
  });
  t.same(overlaps, []);
  t.ok(takes > 100 && takenOver > 10 && lost > 10, `${takes} takes, ${takenOver} of them of the dead, ${lost} lost`);
  t.same(
    [...codes].filter((code) => !isExpected(code)),
    [],
  );
  t.ok(reached, 'in the end every host gets it');
  t.ok(mostFiles <= HOSTS + 5, `no more than ${mostFiles} files are left`);
});

t.test('plugins that are killed and come back keep what their containers go on with', async (t) => {
  const accidents = { ...NONE, freezeMs: 7_000, downMs: 20_000, power: true };
  const { takes, lost, overlaps, reached } = await all(range(1, 3), { weather: CALM, accidents });
  t.same(overlaps, []);
  t.equal(lost, 0);
  t.ok(takes > 30 && reached, `${takes} takes`);
});

t.test('plugins that are stopped in good order keep it for as long as they are away', async (t) => {
  const accidents = { ...NONE, stopMs: 300_000, power: true };
  const { takes, lost, overlaps, reached } = await all(range(1, 4), { weather: CALM, accidents });
  t.same(overlaps, []);
  t.equal(lost, 0);
  t.ok(takes > 30 && reached, `${takes} takes`);
});

t.test('hosts that were frozen, or without their plugin, for long stop soon after they wake up', async (t) => {
  const accidents = { ...NONE, freezeMs: 200_000, cutMs: 90_000, downMs: 100_000, power: true };
  const { overlaps, reached } = await all(range(1, 8), { weather: FOUL, accidents });
  t.ok(overlaps.length > 0, 'it cannot be prevented');
  const { beatMs, roundMs } = LEASE_TIMES;
  const longest = Math.max(...overlaps.map(({ afterwardsMs }) => afterwardsMs));
  t.ok(longest < beatMs + 2 * roundMs, `at most ${longest} ms after that`);
  t.ok(reached);
});

t.test('the same with too short a watch has two hosts write at once: this model can tell', async (t) => {
  const times = { ...LEASE_TIMES, marginMs: -15_000 };
  const accidents = { ...NONE, cutMs: 90_000, power: true };
  const { overlaps } = await all(range(1, 4), { weather: FOUL, accidents, times });
  t.ok(overlaps.length > 0, `${overlaps.length} times`);
});
