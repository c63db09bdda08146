/**
 * The suites of test/integration/object-suites.test.ts for hours that nobody waits for, and those that are too long for every
 * day: `npm run test:long`. With the folder of a built pjdfstest in PJDFSTEST that is run, too.
 */
import path from 'node:path';
import t from 'tap';
import { must, run } from '../rig/command.ts';
import { exercise, PROGRAMS, posix } from '../suites/programs.ts';
import { SuiteVolume } from '../suites/volume.ts';

const HOUR = 3_600_000;
t.setTimeout(4 * HOUR);

/** Of pjdfstest: what volumes of objects do not do by design (see OUT_OF_SCOPE). */
const LEFT_OUT = [
  // Hard links.
  /^link\//,
  /^(rename\/(00|23)|unlink\/00)\.t/,
  // Paths of up to 4,095 bytes.
  /^\w+\/03\.t/,
  /^(rename\/02|symlink\/03)\.t/,
  // Links of folders.
  /^rename\/24\.t/,
];

for (const seed of [1, 2, 3]) {
  t.test(`100,000 operations on one file, seed ${seed}`, { timeout: HOUR }, async (t) => {
    const volume = await SuiteVolume.make(t);
    t.comment(await exercise(await volume.folder('exercised'), seed, 100_000, 256 << 10));
    t.notMatch(volume.log(), /"level":"error"/);
  });
}

t.test('3,000 operations on a file of up to 60 MiB, while the engine is killed', { timeout: HOUR }, async (t) => {
  const volume = await SuiteVolume.make(t);
  const folder = await volume.folder('exercised');
  let over = false;
  const exercised = exercise(folder, 7, 3_000, 60 << 20).finally(() => {
    over = true;
  });
  let killed = 0;
  while (!over) {
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    if (over) break;
    await volume.killEngine();
    killed += 1;
  }
  t.comment(`${await exercised} with ${killed} deaths`);
  t.ok(killed > 3, `${killed} deaths`);
});

t.test('files behave as POSIX says, while the engine is killed, too', { timeout: HOUR }, async (t) => {
  const volume = await SuiteVolume.make(t);
  for (const round of [1, 2]) {
    const outcomes = posix(await volume.folder(`posix-${round}`));
    const timer = round === 2 ? setInterval(() => void volume.killEngine(), 1_500) : undefined;
    for (const { name, problem } of await outcomes) t.equal(problem, undefined, `${round}: ${name}`);
    clearInterval(timer);
  }
});

for (const { name, missing, run: does } of PROGRAMS) {
  const reason = missing();
  t.test(name, { timeout: HOUR, ...(reason !== undefined && { skip: reason }) }, async (t) => {
    const volume = await SuiteVolume.make(t);
    await does(await volume.folder('program'), { long: true, remount: () => volume.remount() });
    t.pass(name);
  });
}

const pjdfstest = process.env['PJDFSTEST'];
t.test(
  'pjdfstest',
  { timeout: HOUR, ...(pjdfstest === undefined && { skip: 'PJDFSTEST names no folder' }) },
  async (t) => {
    const volume = await SuiteVolume.make(t);
    const tests = path.join(pjdfstest ?? '', 'tests');
    const files = (await must(['find', tests, '-name', '*.t', '-printf', '%P\\n'])).trim().split('\n').sort();
    for (const [n, file] of files.entries()) {
      const isLeftOut = LEFT_OUT.some((one) => one.test(file));
      const cwd = await volume.folder(`pjd-${n}`);
      const { code, stdout } = await run(['prove', path.join(tests, file)], { cwd, timeoutMs: HOUR });
      if (isLeftOut) t.comment(`${file}: out of scope, ${code === 0 ? 'passes' : 'fails'}`);
      else t.equal(code, 0, `${file}${code === 0 ? '' : `: ${stdout.slice(-400)}`}`);
    }
  },
);
