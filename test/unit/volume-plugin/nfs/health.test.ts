import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import type { Logger } from '../../../../shared/log.ts';
import { HEALTH_TIMES, Health } from '../../../../volume-plugin/nfs/health.ts';
import { codeOf, messageOf } from '../block/scratch.ts';

const TIMES = { ...HEALTH_TIMES, freshMs: 0, tryMs: 60, secondMs: 20 };

const scene = (t: Test, change: Partial<typeof TIMES> = {}) => {
  const lines: string[] = [];
  const log: Logger = {
    ...{ level: 'info', debug: () => undefined, error: () => undefined, child: () => log },
    info: (text) => lines.push(`info ${text}`),
    warn: (text) => lines.push(`warn ${text}`),
  };
  const health = new Health({ ...TIMES, ...change }, log, newContext(log, Number.POSITIVE_INFINITY));
  // Nothing of its own keeps a process alive.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => {
    clearInterval(alive);
    health.close();
  });
  return { health, lines };
};

const silent = (): Promise<void> =>
  Promise.reject(new PluginError('SHARE_UNREACHABLE', { share: 's', reason: 'connection refused' }));

t.test('a server counts as silent after two tries, from the first one on', async (t) => {
  const { health, lines } = scene(t);
  const outcomes: (() => Promise<void>)[] = [];
  let asked = 0;
  health.watch('s', () => {
    asked += 1;
    return (outcomes.shift() ?? silent)();
  });
  outcomes.push(silent, async () => undefined);
  await health.check('s');
  t.same([asked, lines], [2, []], 'one answer that is lost is nothing');
  const before = Date.now();
  t.match(await messageOf(health.check('s')), /SHARE_SILENT: The server of share s does not answer since /);
  t.match(health.of('s'), { answering: false, reason: /connection refused/ });
  const since = health.of('s')?.since ?? 0;
  t.ok(since >= before && since <= Date.now());
  await sleep(20);
  t.equal(await codeOf(health.check('s')), 'SHARE_SILENT');
  t.equal(health.of('s')?.since, since, 'it goes on to be the same silence');
  outcomes.push(async () => undefined);
  await health.check('s');
  t.same(lines, ['warn the server of a share does not answer', 'info the server of a share answers again']);
  t.match(health.of('s'), { answering: true });
});

t.test('a server that says nothing at all is waited for twice, and by all who ask at once together', async (t) => {
  const { health } = scene(t);
  let asked = 0;
  health.watch('s', (c: Context) => {
    asked += 1;
    return new Promise((_, reject) => c.signal.addEventListener('abort', () => reject(c.signal.reason)));
  });
  const begun = performance.now();
  const all = await Promise.all([health.check('s'), health.check('s'), health.check('s')].map(codeOf));
  t.same(all, ['SHARE_SILENT', 'SHARE_SILENT', 'SHARE_SILENT']);
  t.equal(asked, 2);
  t.ok(performance.now() - begun < 5_000);
});

t.test('an answer of a moment ago will do, and servers are asked now and then in the background', async (t) => {
  const { health } = scene(t, { freshMs: 10_000, everyMs: 30 });
  let asked = 0;
  const ping = async (): Promise<void> => {
    asked += 1;
  };
  health.watch('s', ping);
  await health.check('s');
  t.equal(asked, 0);
  while (asked < 3) await sleep(10);
  health.forget('s');
  const then = asked;
  await sleep(100);
  t.equal(asked, then);
  t.equal(health.of('s'), undefined);
  await health.check('s');
});
