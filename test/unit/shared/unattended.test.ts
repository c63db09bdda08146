import t from 'tap';
import { newContext } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { Unattended } from '../../../shared/unattended.ts';

const context = (ms = 5_000) => newContext(silentLogger, ms);
const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'none',
    (error: unknown) => (error instanceof PluginError ? error.code : String(error)),
  );

/** Work whose ends are called by hand, one for each time it was begun. */
const manual = () => {
  const begun: PromiseWithResolvers<string>[] = [];
  const work = (): Promise<string> => {
    const one = Promise.withResolvers<string>();
    begun.push(one);
    return one.promise;
  };
  return { begun, work };
};

const fresh = (longestMs?: number): Unattended => new Unattended(silentLogger, new AbortController().signal, longestMs);

t.test('a call that cannot wait is told that work goes on, and the next one joins it', async (t) => {
  const [unattended, { begun, work }] = [fresh(), manual()];
  t.equal(await codeOf(unattended.run('a', 'a', work, context(50))), 'STILL_WORKING');
  const joined = unattended.run('a', 'a', work, context());
  begun[0]?.resolve('done');
  t.equal(await joined, 'done');
  t.equal(begun.length, 1);
});

t.test('work of an earlier call whose time is over is begun anew for who joined it', async (t) => {
  for (const code of ['DEADLINE', 'STILL_WORKING', 'PROVIDER_THROTTLED', 'BACKEND_THROTTLED'] as const) {
    const [unattended, { begun, work }] = [fresh(), manual()];
    t.equal(await codeOf(unattended.run('a', 'a', work, context(50))), 'STILL_WORKING');
    const joined = unattended.run('a', 'a', work, context());
    begun[0]?.reject(new PluginError(code, { what: 'The call', seconds: 300, provider: 'cloud' }));
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(begun.length, 2, code);
    begun[1]?.resolve('done');
    t.equal(await joined, 'done');
  }
});

t.test('the same of the call’s own work is told', async (t) => {
  const [unattended, { begun, work }] = [fresh(), manual()];
  const own = codeOf(unattended.run('a', 'a', work, context()));
  begun[0]?.reject(new PluginError('PROVIDER_THROTTLED', { provider: 'cloud' }));
  t.equal(await own, 'PROVIDER_THROTTLED');
  t.equal(begun.length, 1);
});

t.test('another failure is told to who joined, too', async (t) => {
  const [unattended, { begun, work }] = [fresh(), manual()];
  t.equal(await codeOf(unattended.run('a', 'a', work, context(50))), 'STILL_WORKING');
  const joined = codeOf(unattended.run('a', 'a', work, context()));
  begun[0]?.reject(new PluginError('PROVIDER_UNREACHABLE', { provider: 'cloud' }));
  t.equal(await joined, 'PROVIDER_UNREACHABLE');
  t.equal(begun.length, 1);
});

t.test('work ends some time, also when nobody asks for it any more', async (t) => {
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(alive));
  const ended = Promise.withResolvers<unknown>();
  const unattended = fresh(100);
  const code = await codeOf(
    unattended.run(
      'a',
      'a',
      (c) =>
        new Promise((_, reject) => c.signal.addEventListener('abort', () => reject(ended.resolve(c.signal.reason)))),
      context(50),
    ),
  );
  t.equal(code, 'STILL_WORKING');
  t.match(await ended.promise, { code: 'DEADLINE' });
});
