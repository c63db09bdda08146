import t from 'tap';
import { RateLimits, TokenBucket } from '../../../../shared/cloud/token-bucket.ts';
import { cancellable, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';

const context = (ms = 5_000) => newContext(silentLogger, ms);

t.test('a burst goes at once, the rest at the rate', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 3, perSecond: 100 });
  const started = performance.now();
  await Promise.all(Array.from({ length: 3 }, () => bucket.take(context())));
  t.ok(performance.now() - started < 8, 'the burst');
  await Promise.all(Array.from({ length: 5 }, () => bucket.take(context())));
  t.ok(performance.now() - started >= 45, 'five more at 10 ms each');
});

t.test('a bucket fills again, up to its burst', async (t) => {
  let time = 0;
  const bucket = new TokenBucket('aws', { burst: 2, perSecond: 1 }, () => time);
  await bucket.take(context());
  await bucket.take(context());
  time += 60_000;
  await bucket.take(context(10));
  await bucket.take(context(10));
  await t.rejects(bucket.take(context(10)), { code: 'PROVIDER_THROTTLED' });
});

t.test('first come, first served', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 200 });
  const order: number[] = [];
  await Promise.all([0, 1, 2, 3].map((n) => bucket.take(context()).then(() => order.push(n))));
  t.same(order, [0, 1, 2, 3]);
});

t.test('who cannot have a turn in time is refused at once, and holds nobody up', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 10 });
  await bucket.take(context());
  const started = performance.now();
  await t.rejects(bucket.take(context(50)), { code: 'PROVIDER_THROTTLED', context: { provider: 'aws' } });
  t.ok(performance.now() - started < 20);
  t.equal(bucket.waiting, 0);
});

t.test('who gives up leaves the queue', async (t) => {
  const bucket = new TokenBucket('aws', { burst: 1, perSecond: 20 });
  await bucket.take(context());
  const { context: c, cancel } = cancellable(context());
  const first = bucket.take(c);
  const second = bucket.take(context());
  const started = performance.now();
  cancel(new Error('not needed any more'));
  await t.rejects(first, { message: 'not needed any more' });
  await second;
  t.ok(performance.now() - started < 90, 'the second takes the place of the first');
});

t.test('after the cloud has refused a call nobody goes before the next refill', async (t) => {
  const limits = new RateLimits('aliyun', (api) => ({ burst: api === 'Describe' ? 100 : 10, perSecond: 20 }));
  await limits.take('Create', context());
  limits.refused('Create');
  const started = performance.now();
  await limits.take('Describe', context());
  t.ok(performance.now() - started < 10, 'each API has a bucket of its own');
  await limits.take('Create', context());
  t.ok(performance.now() - started >= 40);
});
