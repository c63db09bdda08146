import t from 'tap';
import { newContext } from '../../../shared/context.ts';
import { KeyedMutex } from '../../../shared/keyed-mutex.ts';
import { silentLogger } from '../../../shared/log.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

t.test('one at a time per key, in the order of arrival', async (t) => {
  const mutex = new KeyedMutex();
  const seen: number[] = [];
  let inside = 0;
  await Promise.all(
    [0, 1, 2, 3, 4].map((n) =>
      mutex.run('a', async () => {
        inside += 1;
        t.equal(inside, 1);
        await pause(5 - n);
        inside -= 1;
        seen.push(n);
      }),
    ),
  );
  t.same(seen, [0, 1, 2, 3, 4]);
  t.equal(mutex.size, 0, 'nothing is left');
});

t.test('different keys do not wait for each other', async (t) => {
  const mutex = new KeyedMutex();
  const gate = Promise.withResolvers<void>();
  const slow = mutex.run('a', () => gate.promise);
  t.equal(await mutex.run('b', async () => 'free'), 'free');
  t.ok(mutex.isHeld('a'));
  gate.resolve();
  await slow;
});

t.test('an error goes to the caller and frees the key', async (t) => {
  const mutex = new KeyedMutex();
  await t.rejects(
    mutex.run('a', async () => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
  await t.rejects(
    mutex.run('a', () => {
      throw new Error('at once');
    }),
    { message: 'at once' },
  );
  t.equal(await mutex.run('a', async () => 1), 1);
});

t.test('several keys are taken without deadlock, whatever the order and repetition', async (t) => {
  const mutex = new KeyedMutex();
  const inside = new Set<string>();
  const work = (keys: string[]) =>
    mutex.run(keys, async () => {
      for (const key of new Set(keys)) {
        t.notOk(inside.has(key));
        inside.add(key);
      }
      await pause(1);
      for (const key of keys) inside.delete(key);
    });
  await Promise.all(Array.from({ length: 20 }, (_, i) => work(i % 2 === 0 ? ['a', 'b', 'c'] : ['c', 'a', 'a'])));
  t.equal(mutex.size, 0);
});

t.test('waiting ends with the deadline; the work is never begun and nothing is held', async (t) => {
  // The timer of a context does not keep a process alive.
  const alive = setTimeout(() => undefined, 30_000);
  t.teardown(() => clearTimeout(alive));
  const mutex = new KeyedMutex();
  const gate = Promise.withResolvers<void>();
  const slow = mutex.run('b', () => gate.promise);
  let begun = false;
  const late = mutex.run(
    ['a', 'b'],
    async () => {
      begun = true;
    },
    newContext(silentLogger, 10),
  );
  await t.rejects(late, { code: 'DEADLINE' });
  t.notOk(mutex.isHeld('a'), 'a key taken on the way is given back');
  const next = mutex.run('b', async () => 'next');
  gate.resolve();
  await slow;
  t.equal(await next, 'next', 'who gave up does not block who comes after');
  t.notOk(begun);
  t.equal(mutex.size, 0);
  await t.rejects(
    mutex.run('a', async () => 1, { ...newContext(silentLogger, 1), signal: AbortSignal.abort(new Error('over')) }),
    {
      message: 'over',
    },
  );
});
