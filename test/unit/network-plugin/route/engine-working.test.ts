// Calls that take longer than Docker waits: the work goes on, and the same call again joins it.
import t from 'tap';
import { newContext, now } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { type CloudWorld, cloudWorld, errorOf } from './engine-cloud.ts';
import { until } from './etcd-world.ts';

const POOL = '10.64.0.0/12';
const PREFIX = '10.64.3.0/24';
const WANTED = { pool: POOL, length: 24 };

/** Writes of this kind wait until the answer is called. */
const slow = ({ provider }: CloudWorld, kind: string): (() => void) => {
  const gate = Promise.withResolvers<void>();
  provider.before = (call) => (call.startsWith(kind) ? gate.promise : undefined);
  return () => {
    provider.before = undefined;
    gate.resolve();
  };
};

t.test('a claim that takes too long says so, goes on, and is joined by the same call', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  t.match(await errorOf(world.engine.claim(PREFIX, POOL, context(100))), {
    code: 'STILL_WORKING',
    message: /^STILL_WORKING: Still working: claiming 10\.64\.3\.0\/24 takes longer than 0\.\d s/,
    fix: 'Repeat the command to join it.',
  });
  t.equal(await codeOf(world.engine.claim(PREFIX, POOL, context(100))), 'STILL_WORKING');
  const joined = world.engine.claim(PREFIX, POOL, context());
  go();
  await joined;
  t.equal(world.provider.writes.length, 3, 'nothing was asked for twice');
  t.equal(world.store.get('claims', PREFIX)?.phase, 'held');
});

t.test('a claim that came to its end unattended is found done', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  t.equal(await codeOf(world.engine.claim(PREFIX, POOL, context(100))), 'STILL_WORKING');
  go();
  await until('it is done', () => world.store.get('claims', PREFIX)?.phase === 'held');
  await world.engine.claim(PREFIX, POOL, context());
  t.equal(world.provider.writes.length, 3);
});

t.test('a search that takes too long', async (t) => {
  t.test('is joined by the next one for the same', async (t) => {
    const world = await cloudWorld(t);
    const go = slow(world, 'create');
    t.match(await errorOf(world.engine.claimFree(WANTED, context(100))), {
      code: 'STILL_WORKING',
      message: /claiming a prefix of length \/24 in 10\.64\.0\.0\/12/,
    });
    const joined = world.engine.claimFree({ ...WANTED, preferred: '10.64.0.0/24' }, context());
    go();
    t.equal(await joined, '10.64.0.0/24');
    t.equal(world.store.all('claims').size, 1);
  });

  t.test('is joined by one caller, and the others get prefixes of their own', async (t) => {
    const world = await cloudWorld(t);
    const go = slow(world, 'create');
    t.equal(await codeOf(world.engine.claimFree(WANTED, context(100))), 'STILL_WORKING');
    const both = [1, 2].map(() => world.engine.claimFree(WANTED, context()));
    go();
    t.same((await Promise.all(both)).sort(), ['10.64.0.0/24', '10.64.1.0/24']);
  });

  t.test('is not joined by one for something else', async (t) => {
    const world = await cloudWorld(t);
    const go = slow(world, 'create');
    t.equal(await codeOf(world.engine.claimFree(WANTED, context(100))), 'STILL_WORKING');
    const other = world.engine.claimFree({ ...WANTED, length: 25 }, context());
    go();
    t.equal(await other, '10.64.1.0/25');
  });

  t.test('and has come to its end since gives the prefix that it claimed to who prefers it', async (t) => {
    const world = await cloudWorld(t);
    const go = slow(world, 'create');
    t.equal(await codeOf(world.engine.claimFree(WANTED, context(100))), 'STILL_WORKING');
    go();
    await until('it is done', () => world.store.get('claims', '10.64.0.0/24')?.phase === 'held');
    t.equal(await world.engine.claimFree({ ...WANTED, preferred: '10.64.0.0/24' }, context()), '10.64.0.0/24');
    t.equal(world.store.all('claims').size, 1);
    t.equal(await world.engine.claimFree(WANTED, context()), '10.64.1.0/24', 'and to nobody else');
  });

  for (const [how, take] of [
    ['asks for the same', undefined],
    ['claims it by name', '10.64.0.0/24'],
  ] as const) {
    t.test(`or to who ${how}, once`, async (t) => {
      const world = await cloudWorld(t);
      const go = slow(world, 'create');
      t.equal(await codeOf(world.engine.claimFree(WANTED, context(100))), 'STILL_WORKING');
      go();
      await until('it is done', () => world.store.get('claims', '10.64.0.0/24')?.phase === 'held');
      if (take === undefined) t.equal(await world.engine.claimFree(WANTED, context()), '10.64.0.0/24');
      else await world.engine.claim(take, POOL, context());
      t.equal(await world.engine.claimFree(WANTED, context()), '10.64.1.0/24');
    });
  }

  t.test('is not found when it has been released since', async (t) => {
    const world = await cloudWorld(t);
    const go = slow(world, 'create');
    t.equal(await codeOf(world.engine.claimFree(WANTED, context(100))), 'STILL_WORKING');
    go();
    await until('it is done', () => world.store.get('claims', '10.64.0.0/24')?.phase === 'held');
    await world.engine.release('10.64.0.0/24', context());
    world.cloud.set('10.64.0.0/24', 'i-other');
    t.not(await world.engine.claimFree(WANTED, context()), '10.64.0.0/24');
  });
});

t.test('work that fails unattended leaves nothing, and the next call begins anew', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  t.equal(await codeOf(world.engine.claim(PREFIX, POOL, context(100))), 'STILL_WORKING');
  world.cloud.set(PREFIX, 'i-other', ['rtb-2']);
  go();
  await until('it has failed', () => world.store.all('claims').size === 0);
  world.cloud.tables.get('rtb-2')?.clear();
  await world.engine.claim(PREFIX, POOL, context());
  t.equal(world.cloud.of('rtb-2').length, 1);
});

t.test('a caller is answered before it hangs up, when the work may go on for longer', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  const begun = now();
  const c = { ...newContext(silentLogger, 60_000), answerBy: now() + 2_500 };
  t.equal(await codeOf(world.engine.claim(PREFIX, POOL, c)), 'STILL_WORKING');
  t.ok(now() - begun < 2_500, `after ${Math.round(now() - begun)} ms`);
  go();
});

t.test('a caller that is cancelled gets its own reason, and the work goes on', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  const end = new AbortController();
  const c = { ...context(), signal: end.signal };
  const claim = world.engine.claim(PREFIX, POOL, c);
  await until('it is under way', () => world.provider.writes.length > 0);
  end.abort(new PluginError('NOT_READY', {}));
  t.equal(await codeOf(claim), 'NOT_READY');
  go();
  await world.engine.claim(PREFIX, POOL, context());
  t.equal(world.provider.writes.length, 3);
});

t.test('a release that takes too long succeeds, and is finished in the background', async (t) => {
  const world = await cloudWorld(t);
  await world.engine.claim(PREFIX, POOL, context());
  const go = slow(world, 'remove');
  await world.engine.release(PREFIX, context(100));
  t.equal(world.store.get('claims', PREFIX)?.phase, 'releasing');
  t.same(await world.engine.reconcile(true, context()), [], 'which is not done twice');
  const again = world.engine.claim(PREFIX, POOL, context());
  go();
  await again;
  t.same(world.cloud.of('rtb-1'), [`${PREFIX} i-me`], 'a claim after it waits for its end');
});

t.test('closing ends what is under way, and the next start settles it', async (t) => {
  const world = await cloudWorld(t);
  const go = slow(world, 'create');
  t.equal(await codeOf(world.engine.claim(PREFIX, POOL, context(100))), 'STILL_WORKING');
  const begun = now();
  await world.engine.close(context());
  t.ok(now() - begun < 3_000);
  go();
  const { store, cloud } = world;
  await cloudWorld(t, { store, cloud });
  for (const table of cloud.tables.keys()) {
    t.equal(cloud.of(table).length, store.get('claims', PREFIX)?.phase === 'held' ? 1 : 0);
  }
});
