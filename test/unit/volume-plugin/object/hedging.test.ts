// Late answers, and second requests because of them.
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import { Lateness } from '../../../../volume-plugin/object/hedging.ts';
import { HttpError } from '../../../../volume-plugin/object/http/http-error.ts';
import type { HttpRequest } from '../../../../volume-plugin/object/http/message.ts';
import { originOf } from '../../../../volume-plugin/object/http/origin.ts';
import { type Act, callerOf, FakeHttp, getOf } from './calling-scene.ts';
import { answerOf, clientOf, contextOf, RawServer } from './http/raw-server.ts';

/** A caller that has seen forty prompt answers, and then what is told. */
const experienced = async (then: (request: HttpRequest, number: number) => Act) => {
  const http = new FakeHttp((request, number) => (number < 40 ? {} : then(request, number - 40)));
  const caller = callerOf(http);
  for (let number = 0; number < 40; number += 1) await caller.call(getOf('k', { hedged: true }), contextOf());
  return { http, caller };
};

t.test('a late answer is asked for a second time, and the first that comes is taken', async (t) => {
  const { http, caller } = await experienced((_, number) => (number === 0 ? 'silent' : { body: 'second' }));
  const begun = performance.now();
  const into = Buffer.alloc(6);
  const answer = await caller.call(getOf('k', { hedged: true, into: () => into }), contextOf());
  t.equal(answer.body.toString(), 'second');
  t.equal(into.toString(), 'second');
  t.ok(performance.now() - begun < 500);
  t.match(caller.counts, { calls: 41, repeats: 0, hedges: 1, hedgesWon: 1 });
  t.equal(http.given, 1, 'and the other is given up');
});

t.test('when the first comes after all, the second is given up', async (t) => {
  const { http, caller } = await experienced((_, number) => (number === 0 ? { body: 'first', afterMs: 60 } : 'silent'));
  const answer = await caller.call(getOf('k', { hedged: true }), contextOf());
  t.equal(answer.body.toString(), 'first');
  t.match(caller.counts, { hedges: 1, hedgesWon: 0 });
  t.equal(http.given, 1);
});

t.test('one that fails leaves it to the other; when both fail the call is repeated', async (t) => {
  const cut = new HttpError('closed', 'cut', { sent: true });
  const slow = { body: 'first', afterMs: 60 };
  const one = await experienced((_, number) => (number === 0 ? slow : cut));
  t.equal((await one.caller.call(getOf('k', { hedged: true }), contextOf())).body.toString(), 'first');
  const both = await experienced((_, number) => (number === 0 ? cut : { body: 'again' }));
  const answer = await both.caller.call(getOf('k', { hedged: true }), contextOf());
  t.equal(answer.body.toString(), 'again');
  t.match(both.caller.counts, { repeats: 1, hedges: 0 }, 'there was nothing to wait for');
});

t.test('writes, and calls that do not want it, are asked for once', async (t) => {
  const { http, caller } = await experienced(() => ({ afterMs: 60 }));
  await caller.call(getOf('k'), contextOf());
  t.equal(http.requests.length, 41);
});

t.test('a store that is slow as a whole is not asked twice for everything', async (t) => {
  const { http, caller } = await experienced(() => ({ afterMs: 25 }));
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 20 }, () => caller.call(getOf('k', { hedged: true }), contextOf())));
  }
  const extra = http.requests.length - 240;
  t.ok(extra <= 4 + 240 / 33 + 1, `${extra} of 240`);
});

t.test('where the store wants fewer requests nothing is asked twice', async (t) => {
  const { http, caller } = await experienced((_, number) => (number === 0 ? { status: 503 } : { afterMs: 60 }));
  await caller.call(getOf('d/k', { hedged: true }), contextOf());
  t.equal(http.requests.length, 42);
});

t.test('the end of the context ends both', async (t) => {
  const { http, caller } = await experienced(() => 'silent');
  await t.rejects(caller.call(getOf('k', { hedged: true }), contextOf(80)), {
    name: 'StoreError',
    failure: 'DEADLINE',
  });
  t.equal(http.requests.length, 42);
});

t.test('late is what is later than nearly all, and asking twice is earned', async (t) => {
  const lateness = new Lateness();
  for (let ms = 1; ms < 32; ms += 1) lateness.note(ms);
  t.equal(lateness.lateMs, undefined, 'too few to know');
  for (let round = 0; round < 4; round += 1) for (let ms = 1; ms <= 100; ms += 1) lateness.note(ms);
  const late = lateness.lateMs ?? 0;
  t.ok(late >= 95 && late <= 125, `${late} ms`);
  for (let round = 0; round < 400; round += 1) lateness.note(2);
  t.equal(lateness.lateMs, 7, 'a few milliseconds more than what is prompt');
  t.same(
    [1, 2, 3, 4, 5].map(() => lateness.spend()),
    [true, true, true, true, false],
  );
  for (let round = 0; round < 34; round += 1) lateness.note(2);
  t.ok(lateness.spend());
  t.notOk(lateness.spend());
});

t.test('on real connections: one that hangs does not hold a read up', async (t) => {
  let served = 0;
  let hangs = false;
  const server = await RawServer.listen(t, {
    serve: (_, socket) => {
      served += 1;
      if (!hangs) socket.write(answerOf(Buffer.alloc(20_000, served)));
      hangs = false;
    },
  });
  const caller = callerOf(clientOf(t));
  const address = new BucketAddress(originOf(false, '127.0.0.1', server.port), 'b', 'path').of('k');
  const into = Buffer.alloc(20_000);
  const read = () => caller.call({ ...getOf('k', { hedged: true, into: () => into }), address }, contextOf(5_000));
  for (let round = 0; round < 150; round += 1) await read();
  const before = { served, won: caller.counts.hedgesWon };
  hangs = true;
  const begun = performance.now();
  t.equal((await read()).status, 200);
  t.ok(performance.now() - begun < 2_000);
  t.equal(served, before.served + 2);
  t.ok(into.equals(Buffer.alloc(20_000, served)));
  t.equal(caller.counts.hedgesWon, before.won + 1);
  await wait(20);
  t.equal((await read()).status, 200, 'and what was given up disturbs nobody');
  t.ok(into.equals(Buffer.alloc(20_000, into[0])));
});
