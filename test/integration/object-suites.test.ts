// @timeout 4m
// Programs nobody here wrote at work on a mounted bucket, each for a few seconds; `npm run test:long` has them for longer.
import t from 'tap';
import { OUT_OF_SCOPE } from '../suites/posix-cases.ts';
import { exercise, PROGRAMS, posix } from '../suites/programs.ts';
import { SuiteVolume } from '../suites/volume.ts';
import { inOwnMounts } from '../unit/volume-plugin/block/scratch.ts';

// A rig that starts meanwhile would keep a mount of the machine's: what is taken off would go on until that rig is down.
inOwnMounts(import.meta.filename);
t.setTimeout(4 * 60_000);

t.test(
  'random reads, writes, truncations, holes, mappings and copies of one file are what they should be',
  async (t) => {
    const volume = await SuiteVolume.make(t);
    const folder = await volume.folder('exercised');
    t.comment(await exercise(folder, 1, 1_500, 256 << 10));
    t.comment(await exercise(folder, 2, 120, 20 << 20));
    t.notMatch(volume.log(), /"level":"error"/);
  },
);

t.test('files behave as POSIX says', async (t) => {
  const volume = await SuiteVolume.make(t);
  const outcomes = await posix(await volume.folder('posix'));
  for (const { name, problem } of outcomes) t.equal(problem, undefined, name);
  t.ok(outcomes.length > 40, `${outcomes.length} cases`);
  for (const [what, why] of OUT_OF_SCOPE) t.comment(`out of scope: ${what}, for ${why}`);
});

for (const { name, missing, run } of PROGRAMS.filter(({ long }) => long !== true)) {
  const reason = missing();
  t.test(name, reason === undefined ? {} : { skip: reason }, async (t) => {
    const volume = await SuiteVolume.make(t);
    await run(await volume.folder('program'), { long: false, remount: () => volume.remount() });
    t.pass(name);
  });
}
