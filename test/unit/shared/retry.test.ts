import t from 'tap';
import { cancellable, newContext, now } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { pauseMs, withRetry } from '../../../shared/retry.ts';

const unreachable = (): PluginError => new PluginError('PROVIDER_UNREACHABLE', { provider: 'etcd' });

t.test('what may pass is tried again', async (t) => {
  const attempts: number[] = [];
  const result = await withRetry(
    newContext(silentLogger, 5_000),
    async (attempt) => {
      attempts.push(attempt);
      if (attempt < 3) throw unreachable();
      return 'done';
    },
    { firstMs: 1 },
  );
  t.equal(result, 'done');
  t.same(attempts, [1, 2, 3]);
});

t.test('other errors are thrown at once', async (t) => {
  for (const error of [new PluginError('PROVIDER_AUTH'), new PluginError('DEADLINE'), new Error('foreign')]) {
    let runs = 0;
    const failing = withRetry(newContext(silentLogger, 5_000), async () => {
      runs += 1;
      throw error;
    });
    await t.rejects(failing, { message: error.message });
    t.equal(runs, 1);
  }
});

t.test('when time or attempts run out, the last real error is thrown', async (t) => {
  const before = now();
  const c = newContext(silentLogger, 60);
  await t.rejects(
    withRetry(c, () => Promise.reject(unreachable()), { firstMs: 20, random: () => 0.99 }),
    {
      code: 'PROVIDER_UNREACHABLE',
    },
  );
  t.ok(now() - before < 1_000);
  const { context, cancel } = cancellable(newContext(silentLogger, 60_000));
  setTimeout(() => cancel(new Error('stopping')), 10);
  await t.rejects(
    withRetry(context, () => Promise.reject(unreachable()), { firstMs: 30_000, longestMs: 30_000, random: () => 0.5 }),
    { code: 'PROVIDER_UNREACHABLE' },
    'also when somebody ends the context during a pause',
  );
  let runs = 0;
  const twice = withRetry(
    newContext(silentLogger, 5_000),
    async () => {
      runs += 1;
      throw unreachable();
    },
    { attempts: 2, firstMs: 1 },
  );
  await t.rejects(twice, { code: 'PROVIDER_UNREACHABLE' });
  t.equal(runs, 2);
});

t.test('pauses double up to a ceiling, with full jitter', async (t) => {
  const ceiling = (attempt: number) => pauseMs(attempt, { firstMs: 100, longestMs: 1_000, random: () => 1 });
  t.same([1, 2, 3, 4, 5, 500].map(ceiling), [100, 200, 400, 800, 1_000, 1_000]);
  t.equal(pauseMs(3, { random: () => 0 }), 0);
});
