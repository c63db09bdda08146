// Random requests of two hosts against one bucket, whose engines are killed and mounted anew, and whose store loses requests and
// answers: what docs/semantics.md promises is compared with a model after each of them. Part of `npm run test:long`; with STEPS and
// SEEDS (`4`, `4,6,7` or `1-60`) others are tried, and with UV_THREADPOOL_SIZE=1 a seed does mostly the same each time.
import t from 'tap';
import { runTwoHosts } from '../unit/volume-plugin/objectfs/two-hosts-run.ts';

const STEPS = Number(process.env['STEPS'] ?? 10_000);
const SEEDS = (process.env['SEEDS'] ?? '1-3').split(',').flatMap((some) => {
  const [first = 1, last = first] = some.split('-').map(Number);
  return Array.from({ length: last - first + 1 }, (_, n) => first + n);
});
t.setTimeout(4 * 3_600_000);

for (const seed of SEEDS) {
  t.test(`two hosts lose nothing that was acknowledged, whatever happens when (seed ${seed})`, async (t) => {
    const { problems, counts } = await runTwoHosts(seed, STEPS);
    t.same(problems, []);
    t.comment(counts);
  });
}
