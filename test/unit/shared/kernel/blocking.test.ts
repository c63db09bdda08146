import t from 'tap';
import { blocking } from '../../../../shared/kernel/blocking.ts';

/** A call that hangs until it is let go. */
const hung = () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  return { call: () => promise, letGo: () => resolve('late') };
};

t.test('a call answers what it answers, and fails as it fails', async (t) => {
  t.equal(await blocking('a', 'reading', async () => 'there'), 'there');
  await t.rejects(
    blocking('a', 'reading', () => Promise.reject(new Error('gone'))),
    { message: 'gone' },
  );
  await t.rejects(
    blocking('a', 'reading', () => {
      throw new Error('at once');
    }),
    { message: 'at once' },
  );
});

t.test('whoever waits for a dead server is told after a while; nobody else waits for it', async (t) => {
  const calls = [hung(), hung(), hung()];
  const answers = calls.map(({ call }) => blocking('dead', 'reading /mnt/dead', call, 50));
  t.equal(await blocking('alive', 'reading', async () => 'there', 50), 'there', 'another one is read meanwhile');
  for (const answer of answers) {
    await t.rejects(answer, { code: 'DEADLINE', message: /reading \/mnt\/dead took longer/ });
  }
  let begun = false;
  const begin = async (): Promise<void> => {
    begun = true;
  };
  const next = blocking('dead', 'reading', begin, 20);
  await t.rejects(next, { code: 'DEADLINE' }, 'its threads are still away');
  t.notOk(begun, 'and no more of them are spent on it');
  for (const { letGo } of calls) letGo();
  t.equal(await blocking('dead', 'reading', async () => 'there again', 50), 'there again');
});

t.test('what comes when nobody waits for it any more is discarded', async (t) => {
  const { call, letGo } = hung();
  const discarded: string[] = [];
  await t.rejects(
    blocking('dead', 'opening', call, 10, (file) => discarded.push(file)),
    { code: 'DEADLINE' },
  );
  letGo();
  await blocking(
    'dead',
    'opening',
    async () => 'in time',
    50,
    (file) => discarded.push(file),
  );
  t.same(discarded, ['late']);
});

t.test('a file that cannot even be closed when it comes too late does not end the plugin', async (t) => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  for (const [n, discard] of [
    () => Promise.reject(new Error('EIO')),
    () => {
      throw new Error('ESTALE');
    },
  ].entries()) {
    const { call, letGo } = hung();
    await t.rejects(blocking(`stale-${n}`, 'opening', call, 10, discard), { code: 'DEADLINE' });
    letGo();
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.same(unhandled, []);
});

t.test('dead servers, however many, leave threads for everything else', async (t) => {
  const calls = Array.from({ length: 20 }, hung);
  let begun = 0;
  const answers = calls.map(({ call }, server) =>
    blocking(
      `dead-${server}`,
      'reading',
      () => {
        begun += 1;
        return call();
      },
      50,
    ).catch((error: { code: string }) => error.code),
  );
  t.same(new Set(await Promise.all(answers)), new Set(['DEADLINE']));
  t.equal(begun, 12, 'of 16 threads');
  for (const { letGo } of calls) letGo();
  t.equal(await blocking('dead-19', 'reading', async () => 'there', 50), 'there');
});

t.test('calls wait for their turn in the order of their coming', async (t) => {
  const order: number[] = [];
  let most = 0;
  let now = 0;
  const work = (n: number) => async () => {
    now += 1;
    most = Math.max(most, now);
    await new Promise((resolve) => setTimeout(resolve, 1));
    now -= 1;
    order.push(n);
  };
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  await Promise.all(numbers.map((n) => blocking('one', 'writing', work(n))));
  t.same(order, numbers);
  t.equal(most, 2);
});
