// Calls that are held back where the store has said that they are too many.
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { now } from '../../../../shared/context.ts';
import { Pacing, type Passage } from '../../../../volume-plugin/object/pacing.ts';
import { callerOf, FakeHttp, getOf } from './calling-scene.ts';
import { contextOf } from './http/raw-server.ts';

/** Pauses are the shortest there are: 50, 100, 200 ms. */
const pacingOf = (): Pacing => new Pacing(now, () => 0);

/** As many calls at once as were let through within some time. */
const passed = async (pacing: Pacing, key: string, count: number, ms: number): Promise<Passage[]> => {
  const through: Passage[] = [];
  for (let number = 0; number < count; number += 1) {
    // Those who are still waiting when the test ends have no answer.
    void pacing.pass(key, contextOf(3_000)).then(
      (passage) => through.push(passage),
      () => undefined,
    );
  }
  await wait(ms);
  return through;
};

t.test('a prefix that was refused waits and goes on with half as many; others do not notice', async (t) => {
  const pacing = pacingOf();
  const first = await passed(pacing, 'a/1', 8, 0);
  t.equal(first.length, 8, 'nothing is held back at first');
  for (const passage of first) passage.slowed();
  t.equal(pacing.held, 1);
  t.ok(pacing.isHeld('a/2'));
  t.notOk(pacing.isHeld('b/2'));
  t.equal((await passed(pacing, 'b/1', 8, 0)).length, 8);
  // Eight were under way when the first refusal came; the seven after it say nothing new.
  t.equal((await passed(pacing, 'a/2', 8, 20)).length, 4);
});

t.test('each answer that is no refusal lets more through, until nothing is held back', async (t) => {
  const pacing = pacingOf();
  for (const passage of await passed(pacing, 'a/1', 8, 0)) passage.slowed();
  let most = 0;
  let under = 0;
  const c = contextOf(9_000);
  const work = Array.from({ length: 6_000 }, async () => {
    const passage = await pacing.pass('a/1', c);
    under += 1;
    most = Math.max(most, under);
    await Promise.resolve();
    under -= 1;
    passage.taken();
  });
  await Promise.all(work);
  t.ok(most > 100, `${most} at once in the end`);
  t.equal(pacing.held, 0);
});

t.test('a refusal now and then costs little', async (t) => {
  const pacing = pacingOf();
  const c = contextOf(9_000);
  let under = 0;
  let sum = 0;
  // Of a hundred calls one is refused; sixty-four are wanted at once.
  const worker = async (number: number): Promise<void> => {
    for (let round = 0; round < 40; round += 1) {
      const passage = await pacing.pass('a/1', c);
      under += 1;
      sum += under;
      await wait(1);
      under -= 1;
      if ((round * 64 + number) % 100 === 0) passage.slowed();
      else passage.taken();
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, number) => worker(number)));
  t.ok(sum / (64 * 40) > 15, `${Math.round(sum / (64 * 40))} at once on average`);
});

t.test('refusals in a row make longer pauses', async (t) => {
  const pacing = pacingOf();
  const pauses: number[] = [];
  // From before the refusal: what comes between it and the next call belongs to the pause.
  let refused = now();
  for (let round = 0; round < 5; round += 1) {
    const passage = await pacing.pass('a/1', contextOf(5_000));
    pauses.push(now() - refused);
    refused = now();
    passage.slowed();
  }
  for (const [index, least] of [0, 0, 49, 99, 199].entries()) {
    t.ok((pauses[index] ?? 0) >= least, `${pauses[index]} ms`);
  }
});

t.test('who waits may give up, and takes nothing from the others', async (t) => {
  const pacing = pacingOf();
  (await pacing.pass('a/1', contextOf())).slowed();
  (await pacing.pass('a/1', contextOf())).slowed();
  const impatient = pacing.pass('a/1', contextOf(20));
  const patient = pacing.pass('a/1', contextOf(2_000));
  await t.rejects(impatient, { code: 'DEADLINE' });
  (await patient).left();
  t.equal(pacing.held, 1, 'a failure of another kind says nothing of what the store can take');
});

t.test(
  'calls to a store that slows one folder down: all are done, with few refusals, and other folders go on',
  async (t) => {
    const under = new Map<string, number>();
    const http = new FakeHttp(({ target }) => {
      const folder = target.split('/')[2] ?? '';
      const count = (under.get(folder) ?? 0) + 1;
      if (folder === 'busy' && count > 3) return { status: 503, code: 'SlowDown' };
      under.set(folder, count);
      setTimeout(() => under.set(folder, (under.get(folder) ?? 0) - 1), 5);
      return { afterMs: 5 };
    });
    const caller = callerOf(http, { random: Math.random, repetitions: { burst: 1, perSecond: 1 } });
    const done: string[] = [];
    const call = async (key: string): Promise<void> => {
      const { status } = await caller.call(getOf(key, { method: 'PUT' }), contextOf(10_000));
      if (status === 200) done.push(key);
    };
    const busy = Array.from({ length: 60 }, (_, number) => call(`busy/${number}`));
    await Promise.all(Array.from({ length: 60 }, (_, number) => call(`free/${number}`)));
    t.equal(done.filter((key) => key.startsWith('free/')).length, 60);
    t.ok(done.length < 120, 'which did not wait for the others');
    await Promise.all(busy);
    t.equal(done.length, 120);
    t.ok(caller.counts.slowed < 200, `${caller.counts.slowed} refusals`);
  },
);
