// Random requests of two hosts against one bucket, whose engines are killed and mounted anew, and whose store loses requests and
// answers: what docs/semantics.md promises is compared with a model after each of them. With STEPS and SEEDS others are tried.
import t from 'tap';
import { runTwoHosts } from '../unit/volume-plugin/objectfs/two-hosts-run.ts';

const STEPS = Number(process.env['STEPS'] ?? 10_000);
const SEEDS = (process.env['SEEDS'] ?? '1').split(',').map(Number);
t.setTimeout(3_600_000);

for (const seed of SEEDS) {
  t.test(`two hosts lose nothing that was acknowledged, whatever happens when (seed ${seed})`, async (t) => {
    const { problems, counts } = await runTwoHosts(seed, STEPS);
    t.same(problems, []);
    t.comment(counts);
  });
}
