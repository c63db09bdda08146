// A provider that is throttled or slow at the start is still starting: calls join it, and nobody is told of an earlier attempt.
import t from 'tap';
import { ProviderLink } from '../../../../network-plugin/route/provider-link.ts';
import { type Context, newContext, now, sleep } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { errorOf } from './engine-cloud.ts';
import { until } from './etcd-world.ts';

const throttled = () => new PluginError('PROVIDER_THROTTLED', { provider: 'cloud', reason: 'RequestLimitExceeded' });
const silent = () => new PluginError('PROVIDER_UNREACHABLE', { provider: 'cloud', reason: 'no answer' });
const late = () => new PluginError('DEADLINE', { what: 'The call', seconds: 15 });

type Ending = { teardown(work: () => unknown): void };

/** Attempts end as `outcomes` say, one after the other, and then as the last of them. */
const linked = (t: Ending, outcomes: readonly (PluginError | 'works' | 'hangs')[]) => {
  const end = new AbortController();
  // Deadlines do not keep a process alive; a plugin's socket does.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => {
    clearInterval(alive);
    end.abort(new PluginError('NOT_READY', {}));
  });
  const attempts: Context[] = [];
  const start = async (c: Context): Promise<void> => {
    const outcome = outcomes[Math.min(attempts.push(c), outcomes.length) - 1];
    if (outcome === 'hangs') await sleep(600_000, c);
    if (outcome instanceof PluginError) throw outcome;
  };
  const link = new ProviderLink({ provider: { name: 'cloud' }, log: silentLogger, now, end: end.signal, start });
  return { link, attempts };
};

t.test('a start that is throttled goes on, and the call that waits for it gets what it asked for', async (t) => {
  const { link, attempts } = linked(t, [throttled(), throttled(), 'works']);
  await link.ready(context(20_000));
  t.equal(attempts.length, 3);
  t.equal(link.reachable, true);
});

t.test('a call that cannot wait for a start that is throttled is told that it goes on, and why', async (t) => {
  const { link } = linked(t, [throttled()]);
  for (const _ of [1, 2]) {
    t.match(await errorOf(link.ready(context(300))), {
      code: 'STILL_WORKING',
      message: /bringing the route provider cloud to work takes longer than [\d.]+ s, because .*RequestLimitExceeded/,
      fix: 'Repeat the command to join it.',
    });
  }
});

t.test('a caller’s deadline ends its own wait, and not the attempt that others wait for', async (t) => {
  const { link, attempts } = linked(t, ['hangs']);
  t.equal(await codeOf(link.ready(context(200))), 'STILL_WORKING');
  t.equal(attempts[0]?.signal.aborted, false);
  t.equal(await codeOf(link.ready(context(200))), 'STILL_WORKING', 'and not the DEADLINE of the first');
  t.equal(attempts.length, 1, 'which it has joined');
});

t.test('time that ran out within an attempt is no reason to call the provider unreachable', async (t) => {
  const { link, attempts } = linked(t, [late(), 'works']);
  await link.ready(context(10_000));
  t.equal(attempts.length, 2);
});

t.test('what fails for another reason is told, at once to those who come after', async (t) => {
  const { link, attempts } = linked(t, [silent(), 'hangs']);
  t.equal(await codeOf(link.ready(context())), 'PROVIDER_UNREACHABLE');
  const begun = now();
  t.equal(await codeOf(link.ready(context(30_000))), 'PROVIDER_UNREACHABLE');
  t.ok(now() - begun < 1_000);
  t.equal(attempts.length, 2);
});

t.test('a provider that answers again, if only that there are too many calls, is waited for again', async (t) => {
  const { link } = linked(t, [silent(), throttled()]);
  t.equal(await codeOf(link.ready(context())), 'PROVIDER_UNREACHABLE');
  t.equal(await codeOf(link.ready(context(2_000))), 'STILL_WORKING');
});

t.test('the start ends with the engine', async (t) => {
  const end = new AbortController();
  const link = new ProviderLink({
    ...{ provider: { name: 'cloud' }, log: silentLogger, now, end: end.signal },
    start: async () => Promise.reject(throttled()),
  });
  const up = link.bringUp();
  await until('it is under way', () => link.why?.includes('limits the rate') === true);
  end.abort(new PluginError('NOT_READY', {}));
  await up;
  t.equal(link.started, false);
  t.equal(await codeOf(link.ready(newContext(silentLogger, 1_000))), 'NOT_READY');
});
