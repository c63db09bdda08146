import t from 'tap';
import { Errno } from '../../../../volume-plugin/fuse/file-system.ts';
import { patiently } from '../../../../volume-plugin/objectfs/patience.ts';
import { refused } from './namespace-world.ts';

t.test('who is interrupted gets an answer that comes soon, and else EINTR', async (t) => {
  const slow = Promise.withResolvers<number>();
  const late: number[] = [];
  const signals = new AbortController();
  const first = patiently(slow.promise, { signal: signals.signal }, (value) => late.push(value), 20);
  signals.abort();
  const soon = patiently(Promise.resolve(1), { signal: signals.signal }, () => undefined, 20);
  t.equal(await soon, 1);
  t.equal(await refused(() => first), 'EINTR');
  slow.resolve(2);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(late, [2], 'what comes late is given back');
});

t.test('who is not interrupted waits, and is told of failures', async (t) => {
  const { signal } = new AbortController();
  t.equal(patiently(3, { signal }), 3, 'what is there at once is answered at once');
  t.equal(await refused(() => patiently(Promise.reject(new Errno('EACCES')), { signal })), 'EACCES');
  const answer = patiently(
    new Promise<number>((resolve) => setTimeout(resolve, 50, 4)),
    { signal },
    () => undefined,
    10,
  );
  t.equal(await answer, 4);
});
