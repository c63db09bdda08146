import t from 'tap';
import { ManualClock, RealClock } from '../../sim/core/clock.ts';
import { Credentials } from '../../sim/core/credentials.ts';
import { Faults } from '../../sim/core/faults.ts';
import { Ids } from '../../sim/core/ids.ts';
import { LaggedMap } from '../../sim/core/lagged-map.ts';
import { Throttle } from '../../sim/core/rates.ts';
import { type EffectiveRoute, RoutePublisher } from '../../sim/core/routes.ts';
import { TokenMemory } from '../../sim/core/token-memory.ts';

t.test('a manual clock runs what is due in its order, and what that adds', (t) => {
  const clock = new ManualClock(1000);
  const ran: string[] = [];
  clock.after(20, () => ran.push(`late at ${clock.now()}`));
  clock.after(10, () => {
    ran.push(`early at ${clock.now()}`);
    clock.after(5, () => ran.push(`added at ${clock.now()}`));
  });
  clock.after(15, () => ran.push('called off'))();
  clock.advance(19);
  t.same(ran, ['early at 1010', 'added at 1015']);
  clock.advance(1);
  t.equal(ran.at(-1), 'late at 1020');
  t.end();
});

t.test('the real clock can be set ahead', async (t) => {
  const clock = new RealClock();
  let ran = false;
  clock.after(60_000, () => {
    ran = true;
  });
  clock.advance(60_000);
  t.ok(ran);
  t.ok(clock.now() - Date.now() >= 60_000);
  // Its timers keep no process alive: something else must.
  await Promise.all([clock.sleep(5), new Promise((resolve) => setTimeout(resolve, 20))]);
});

t.test('readers of a lagged map see each write late and in order, writers at once', (t) => {
  const clock = new ManualClock(0);
  const map = new LaggedMap<number>(clock, () => 100);
  map.set('a', 1);
  clock.advance(50);
  map.set('a', 2);
  map.set('b', 3);
  t.equal(map.get('a'), 2);
  t.same(map.visible(), []);
  clock.advance(50);
  t.same(map.visible(), [['a', 1]]);
  t.ok(map.delete('a'));
  t.notOk(map.delete('a'), 'it is gone already');
  clock.advance(50);
  t.same(map.visible(), [
    ['a', 2],
    ['b', 3],
  ]);
  clock.advance(50);
  t.same(map.visible(), [['b', 3]]);
  t.same(map.entries(), [['b', 3]]);
  t.end();
});

t.test('buckets: the longest name that fits decides, and a named bucket is shared', (t) => {
  const clock = new ManualClock(0);
  const throttle = new Throttle(
    {
      '*': { burst: 2, perSecond: 0 },
      'Describe*': { burst: 1, perSecond: 4 },
      CreateA: { burst: 1, perSecond: 0, bucket: 'create' },
      CreateB: { burst: 1, perSecond: 0, bucket: 'create' },
    },
    clock,
  );
  t.same([throttle.take('Delete'), throttle.take('Delete'), throttle.take('Delete')], [true, true, false]);
  t.same([throttle.take('CreateA'), throttle.take('CreateB')], [true, false]);
  t.same([throttle.take('DescribeX'), throttle.take('DescribeX')], [true, false]);
  clock.advance(249);
  t.notOk(throttle.take('DescribeX'));
  clock.advance(1);
  t.ok(throttle.take('DescribeX'));
  clock.advance(3600_000);
  t.same([throttle.take('DescribeX'), throttle.take('DescribeX')], [true, false], 'no more than the burst is saved');
  t.end();
});

t.test('a client token is remembered with its parameters, for a time', (t) => {
  const clock = new ManualClock(0);
  const memory = new TokenMemory<string>(clock, 1000);
  memory.remember('me Create', 'x', { a: 1 }, 'made');
  t.same(memory.recall('me Create', 'x', { a: 1 }), { result: 'made' });
  t.equal(memory.recall('me Create', 'x', { a: 2 }), 'mismatch');
  t.equal(memory.recall('me Delete', 'x', { a: 1 }), undefined);
  clock.advance(1000);
  t.equal(memory.recall('me Create', 'x', { a: 1 }), undefined);
  t.end();
});

t.test('rights are names or beginnings, with or without the service', (t) => {
  const credentials = new Credentials(new ManualClock(0), new Ids(), { lasting: 'AKIA', temporary: 'ASIA' });
  const key = credentials.key({ actions: ['ec2:Describe*', 'DeleteRoute', 'sts:*'] });
  t.ok(credentials.allows(key, 'ec2:DescribeVpcs'));
  t.ok(credentials.allows(key, 'ec2:DeleteRoute'));
  t.ok(credentials.allows(key, 'sts:GetCallerIdentity'));
  t.notOk(credentials.allows(key, 'ec2:CreateRoute'));
  t.notOk(credentials.allows(key, 'vpc:DescribeVpcs'));
  t.end();
});

t.test('faults count the calls that fit them, not the others', (t) => {
  const clock = new ManualClock(0);
  const faults = new Faults(clock);
  const call = (action: string, caller = 'one') =>
    faults.take({ service: 'ec2', action, caller, source: '', parameters: {} }).map(({ kind }) => kind);
  faults.add({ action: 'Create*', caller: 'one', nth: 2, times: 2, fault: { kind: 'drop' } });
  t.same(call('CreateRoute'), []);
  t.same(call('CreateRoute', 'two'), []);
  t.same(call('DeleteRoute'), []);
  t.same(call('CreateRoute'), ['drop']);
  t.same(call('CreateTable'), ['drop']);
  t.same(call('CreateRoute'), []);
  faults.storm(100, 'Describe*');
  faults.loseReply('DescribeVpcs');
  t.same(call('DescribeVpcs'), ['unavailable', 'lose-reply']);
  clock.advance(100);
  t.same(call('DescribeVpcs'), []);
  t.end();
});

t.test('sinks get every list in order, one at a time, and a slow one skips to the newest', async (t) => {
  const routes = (...prefixes: string[]): EffectiveRoute[] =>
    prefixes.map((prefix) => ({ table: 't', prefix, target: 'x', state: 'active' }));
  const publisher = new RoutePublisher();
  const applied: number[] = [];
  let gate = Promise.withResolvers<void>();
  await publisher.attach({ apply: (list) => void applied.push(list.length) });
  await publisher.attach({ apply: (list) => (list.length === 1 ? gate.promise : undefined) });
  publisher.publish(routes('a'));
  await new Promise((resolve) => setImmediate(resolve));
  publisher.publish(routes('a', 'b'));
  publisher.publish(routes('a', 'b', 'c'));
  publisher.publish(routes('a', 'b', 'c'));
  gate.resolve();
  await publisher.settled();
  t.same(applied, [0, 1, 3]);
  t.equal(publisher.current.version, 3, 'the same list again is no change');
  gate = Promise.withResolvers();
  gate.reject(new Error('the router is gone'));
  publisher.publish(routes('z'));
  await t.rejects(publisher.settled(), /router is gone/);
  await publisher.settled();
});

t.test('who waits for a change of the routes hears of it', async (t) => {
  const publisher = new RoutePublisher();
  const waiting = publisher.changed(0, 10_000);
  publisher.publish([{ table: 't', prefix: 'a', target: 'x', state: 'active' }]);
  await waiting;
  t.equal(publisher.current.version, 1);
  await publisher.changed(0, 10_000);
});

t.test('ids look like the cloud’s and come out the same for the same seed', (t) => {
  const [one, same, other] = [new Ids('x'), new Ids('x'), new Ids('y')];
  const id = one.of('rtb');
  t.match(id, /^rtb-[0-9a-f]{17}$/);
  t.equal(same.of('rtb'), id);
  t.not(other.of('rtb'), id);
  t.not(one.of('rtb'), id);
  t.match(one.uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  t.end();
});
