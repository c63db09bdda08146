import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { Batch } from '../../../shared/batch.ts';
import { newContext } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { codeOf } from '../../conformance/route-provider.ts';

const context = (ms = 5_000) => newContext(silentLogger, ms);

const counting = (most = 100, tookMs = 0) => {
  const asked: (readonly string[])[] = [];
  const batch = new Batch<string>({
    ...{ most, gatherMs: 2 },
    ask: async (keys) => {
      asked.push(keys);
      await pause(tookMs);
      if (keys.includes('bad')) throw new PluginError('BACKEND_UNREACHABLE', { provider: 'x' });
      return new Map(keys.filter((key) => key !== 'none').map((key) => [key, key.toUpperCase()]));
    },
  });
  return { batch, asked };
};

t.test('questions of one moment are one request, each key once', async (t) => {
  const { batch, asked } = counting();
  const found = await Promise.all(['a', 'b', 'a', 'none'].map((key) => batch.get(key, context())));
  t.same(found, ['A', 'B', 'A', undefined]);
  t.same(asked, [['a', 'b', 'none']]);
});

t.test('no request has more keys than it may, and a failure is that of its own questions', async (t) => {
  const { batch, asked } = counting(2);
  const answers = await Promise.all(['a', 'b', 'bad', 'c', 'd'].map((key) => codeOf(batch.get(key, context()))));
  t.same(answers, ['none', 'none', 'BACKEND_UNREACHABLE', 'BACKEND_UNREACHABLE', 'none']);
  t.same(asked, [['a', 'b'], ['bad', 'c'], ['d']]);
});

t.test('who asks while a request is under way gets an answer that is newer', async (t) => {
  const { batch, asked } = counting(100, 20);
  const first = batch.get('a', context());
  await pause(10);
  await Promise.all([first, batch.get('a', context())]);
  t.same(asked, [['a'], ['a']]);
});

t.test('one that runs out of time takes nobody with it', async (t) => {
  const { batch } = counting(100, 80);
  const [short, long] = [batch.get('a', context(20)), batch.get('a', context())];
  t.equal(await codeOf(short), 'DEADLINE');
  t.equal(await long, 'A');
  const ended = context(1);
  await pause(10);
  t.equal(await codeOf(batch.get('a', ended)), 'DEADLINE');
});
