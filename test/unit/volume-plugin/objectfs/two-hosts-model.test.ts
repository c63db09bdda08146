// Random requests of two hosts against one bucket, in turn, with deaths of engines between them, against a model of what
// docs/semantics.md promises. What also happens in the middle of requests, and stores that lose answers: test/long/two-hosts.ts.
import t from 'tap';
import { runTwoHosts } from './two-hosts-run.ts';

t.setTimeout(120_000);

const SEEDS = [1, 2, 3, 4, 5, 8, 11, 12];
const STEPS = 300;

t.test('two hosts lose nothing that was acknowledged, and are told of lost updates, in whatever order', async (t) => {
  // Side by side, as each one waits for timers mostly.
  const runs = await Promise.all(SEEDS.map((seed) => runTwoHosts(seed, STEPS, true)));
  for (const { problems, counts } of runs) {
    t.same(problems, []);
    t.match(counts, /conflicts/);
  }
});
