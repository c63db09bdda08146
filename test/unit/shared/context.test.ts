import { getEventListeners } from 'node:events';
import t from 'tap';
import { cancellable, newContext, now, remaining, sleep, throwIfDone } from '../../../shared/context.ts';
import { silentLogger } from '../../../shared/log.ts';

t.test('a context ends at its deadline with DEADLINE', async (t) => {
  const c = newContext(silentLogger, 20);
  t.ok(remaining(c) > 0 && remaining(c) <= 20);
  throwIfDone(c);
  await t.rejects(sleep(5_000, c), { code: 'DEADLINE', requestId: c.requestId });
  t.ok(c.signal.aborted);
  t.equal(remaining(c), 0);
  t.throws(() => throwIfDone(c), { code: 'DEADLINE' });
  await t.rejects(sleep(1, c), { code: 'DEADLINE' }, 'and stays ended');
});

t.test('a child ends with its parent, keeps its request id and never outlives it', async (t) => {
  const parent = newContext(silentLogger, 30);
  const child = newContext(silentLogger, 60_000, parent);
  t.equal(child.requestId, parent.requestId);
  t.equal(child.deadline, parent.deadline);
  await t.rejects(sleep(5_000, child), { code: 'DEADLINE' });
  const late = newContext(silentLogger, 60_000, parent);
  t.ok(late.signal.aborted, 'a child of a parent that has ended has ended');
});

t.test('a child may end earlier and leaves its parent alone', async (t) => {
  const parent = newContext(silentLogger, 60_000);
  await t.rejects(sleep(5_000, newContext(silentLogger, 10, parent)), { code: 'DEADLINE' });
  t.notOk(parent.signal.aborted);
});

t.test('contexts below one that lives long take one listener of it, and end with it', async (t) => {
  const { context: parent, cancel } = cancellable(newContext(silentLogger, Number.POSITIVE_INFINITY));
  const children = Array.from({ length: 100 }, (_, n) =>
    n % 2 === 0 ? newContext(silentLogger, 60_000, parent) : cancellable(parent).context,
  );
  // An EventTarget looks through all that it has when one is added: 20,000 contexts cost a millisecond for each further one.
  t.equal(getEventListeners(parent.signal, 'abort').length, 1);
  const reason = new Error('the end');
  cancel(reason);
  t.ok(children.every(({ signal }) => signal.reason === reason));
  t.equal(newContext(silentLogger, 60_000, parent).signal.reason, reason);
  t.equal(cancellable(parent).context.signal.reason, reason);
});

t.test('a context can be ended by hand', async (t) => {
  const parent = newContext(silentLogger, Number.POSITIVE_INFINITY);
  t.equal(parent.deadline, Number.POSITIVE_INFINITY);
  const { context, cancel } = cancellable(parent);
  const child = newContext(silentLogger, 60_000, context);
  const reason = new Error('stopping');
  setTimeout(() => cancel(reason), 5);
  await t.rejects(sleep(60_000, child), { message: 'stopping' });
  t.notOk(parent.signal.aborted);
});

t.test('sleep waits about as long as it is told', async (t) => {
  const c = newContext(silentLogger, 60_000);
  const before = now();
  await sleep(15, c);
  t.ok(now() - before >= 14);
});
