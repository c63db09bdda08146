import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { RateLimits, TokenBucket } from '../../../../shared/cloud/token-bucket.ts';
import { cancellable, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';

const context = (ms = 5_000) => newContext(silentLogger, ms);

/** Has it come to an end without waiting for any time to pass? */
const isAtOnce = async (work: Promise<unknown>): Promise<boolean> => {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  work.then(end, end);
  await setImmediate();
  return ended;
};

t.test('a burst goes at once, the rest at the rate', async (t) => {
  const still = new TokenBucket('aws', { burst: 3, perSecond: 0.1 }, () => 0);
  await Promise.all(Array.from({ length: 3 }, () => still.take(context())));
  await t.rejects(still.take(context()), { code: 'PROVIDER_THROTTLED' }, 'and no more of them');
  const bucket = new TokenBucket('aws', { burst: 3, perSecond: 100 });
  const started = performance.now();
  t.ok(await isAtOnce(Promise.all(Array.from({ length: 3 }, () => bucket.take(context())))), 'the burst');
  await Promise.all(Array.from({ length: 5 }, () => bucket.take(context())));
  t.ok(performance.now() - started >= 45, 'five more at 10 ms each');
});

t.test('a bucket fills again, up to its burst', async (t) => {
  let time = 0;
  const bucket = new TokenBucket('aws', { burst: 2, perSecond: 0.1 }, () => time);
  await bucket.take(context());
  await bucket.take(context());
  time += 60_000;
  await bucket.take(context());
  await bucket.take(context());
  await t.rejects(bucket.take(context()), { code: 'PROVIDER_THROTTLED' });
});

t.test('first come, first served', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 200 });
  const order: number[] = [];
  await Promise.all([0, 1, 2, 3].map((n) => bucket.take(context()).then(() => order.push(n))));
  t.same(order, [0, 1, 2, 3]);
});

t.test('who cannot have a turn in time is refused at once, and holds nobody up', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 0.1 });
  await bucket.take(context());
  const refusal = bucket.take(context());
  t.ok(await isAtOnce(refusal));
  await t.rejects(refusal, { code: 'PROVIDER_THROTTLED', context: { provider: 'aws' } });
  t.equal(bucket.waiting, 0);
});

t.test('who gives up leaves the queue', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 4 });
  await bucket.take(context());
  const { context: c, cancel } = cancellable(context());
  const first = bucket.take(c);
  const second = bucket.take(context());
  const started = performance.now();
  cancel(new Error('not needed any more'));
  await t.rejects(first, { message: 'not needed any more' });
  await second;
  t.ok(performance.now() - started < 450, 'the second takes the place of the first');
});

t.test('after the cloud has refused a call nobody goes before the next refill', async (t) => {
  const limits = new RateLimits('aliyun', (api) => ({ burst: api === 'Describe' ? 100 : 10, perSecond: 20 }));
  await limits.take('Create', context());
  limits.refused('Create');
  const started = performance.now();
  t.ok(await isAtOnce(limits.take('Describe', context())), 'each API has a bucket of its own');
  t.equal(limits.isPressed('Describe'), false);
  await limits.take('Create', context());
  t.ok(performance.now() - started >= 40);
});

/** A bucket on a clock of its own; `waitMs` is how long the next call would wait, found by deadlines. */
const slow = (rate = { burst: 1, perSecond: 10 }) => {
  const clock = { ms: 0 };
  const bucket = new TokenBucket(
    'aws',
    rate,
    () => clock.ms,
    () => 0.5,
  );
  const isRefused = async (ms: number): Promise<boolean> => {
    const { context: c, cancel } = cancellable(context(ms));
    const taken = bucket.take(c).then(
      () => false,
      (error: unknown) => String(error).includes('PROVIDER_THROTTLED'),
    );
    cancel(new Error('only asked'));
    return taken;
  };
  return { bucket, clock, isRefused };
};

t.test('each refusal makes calls fewer, down to a part; calls that are taken bring them back', async (t) => {
  const { bucket, clock, isRefused } = slow();
  await bucket.take(context());
  t.equal(bucket.isPressed, false);
  bucket.refused();
  t.equal(bucket.isPressed, true);
  t.equal(await isRefused(900), true, 'a tenth of the rate: a second');
  t.equal(await isRefused(1_100), false);
  clock.ms += 1;
  bucket.refused();
  t.equal(await isRefused(1_900), true, 'half of that');
  t.equal(await isRefused(2_100), false);
  for (let n = 0; n < 20; n += 1) {
    clock.ms += 1;
    bucket.refused();
  }
  t.equal(await isRefused(14_900), true, 'never less than so');
  t.equal(await isRefused(15_100), false);
  for (let n = 0; n < 20; n += 1) bucket.accepted();
  t.equal(bucket.isPressed, false);
  t.equal(await isRefused(110), false);
});

t.test('calls that were under way together are refused once', async (t) => {
  const { bucket, clock, isRefused } = slow();
  const sentAt = clock.ms;
  await bucket.take(context());
  clock.ms += 50;
  for (let n = 0; n < 10; n += 1) bucket.refused(sentAt);
  t.equal(await isRefused(900), true);
  t.equal(await isRefused(1_100), false);
});

t.test('what was refused long ago counts no more', async (t) => {
  const { bucket, clock } = slow();
  bucket.refused();
  clock.ms += 119_000;
  t.equal(bucket.isPressed, true);
  clock.ms += 2_000;
  t.equal(bucket.isPressed, false);
});

t.test('hosts that are refused together come back at different times', async (t) => {
  const waits = new Set<number>();
  for (const share of [0, 0.3, 0.6, 0.9]) {
    const bucket = new TokenBucket('aws', { burst: 1, perSecond: 100 }, undefined, () => share);
    bucket.refused();
    const begun = performance.now();
    await bucket.take(context());
    waits.add(Math.round((performance.now() - begun) / 10));
  }
  t.equal(waits.size, 4, `${[...waits]}`);
});

t.test('who is refused a turn after throttles is told of them', async (t) => {
  const { bucket } = slow();
  bucket.refused();
  await t.rejects(bucket.take(context(500)), { code: 'PROVIDER_THROTTLED', message: /refused calls of this account/ });
});

t.test(
  'who waits at a low rate is served earlier when calls are taken again, or a new one comes after a while',
  async (t) => {
    for (const betters of ['accepted', 'forgotten'] as const) {
      const clock = { ms: 0 };
      const bucket = new TokenBucket(
        'aws',
        { burst: 1, perSecond: 20 },
        () => clock.ms + performance.now(),
        () => 0.5,
      );
      for (let n = 0; n < 10; n += 1) bucket.refused();
      const first = cancellable(context(60_000));
      // Its turn comes after seconds, at this rate.
      const waiting = bucket.take(first.context);
      if (betters === 'accepted') for (let n = 0; n < 20; n += 1) bucket.accepted();
      else clock.ms += 121_000;
      const begun = performance.now();
      const next = bucket.take(context(60_000));
      await waiting;
      await next;
      t.ok(performance.now() - begun < 1_000, betters);
    }
  },
);

t.test('a call whose turn was near, until the rate fell, is told of the limit when its time is over', async (t) => {
  const limits = new RateLimits('aws', () => ({ burst: 1, perSecond: 20 }));
  const c = context(120);
  await limits.take('Create', c);
  const late = limits.take('Create', c);
  limits.refused('Create');
  await t.rejects(late, { code: 'PROVIDER_THROTTLED' });
  await t.rejects(limits.take('Create', c), { code: 'PROVIDER_THROTTLED' }, 'also when it comes after that');
});
