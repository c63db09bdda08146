import t from 'tap';
import { until } from '../../../shared/looking.ts';
import { context } from '../volume-plugin/block/scratch.ts';
import { VirtualTime } from '../volume-plugin/block/virtual-time.ts';

t.test('a move takes hardly longer than its cloud: the end of each state is seen soon after it', async (t) => {
  const time = new VirtualTime();
  // Pauses as they are on average.
  time.install(() => 0.5);
  t.teardown(() => time.restore());
  const looks: number[] = [];
  let asked: number | undefined;
  const done = until<true>('moving', context(60_000), async () => {
    looks.push(time.now);
    // One state lasts 2 s, then something is asked for, and what comes of it lasts 2 s.
    if (asked !== undefined) return time.now < asked + 2_000 ? 'wait' : { done: true };
    if (time.now < 2_000) return 'wait';
    asked = time.now;
    return 'again';
  });
  await time.run(() => asked !== undefined && time.now > asked + 10_000);
  await done;
  const first = asked ?? Number.NaN;
  const last = looks.at(-1) ?? Number.NaN;
  t.ok(first < 2_600, `the first state ended at 2000, and was seen at ${first}`);
  t.equal(looks.filter((at) => at === first).length, 2, 'what was asked for is looked at at once');
  t.ok(last - first < 2_600, `the second one lasted 2000, and was seen after ${last - first}`);
  t.ok(looks.length < 24, `it was looked ${looks.length} times`);
});
