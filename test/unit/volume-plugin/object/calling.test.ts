// What is repeated, for how long, and what is said in the end.
import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import { HttpError } from '../../../../volume-plugin/object/http/http-error.ts';
import type { KeySource } from '../../../../volume-plugin/object/key-source.ts';
import type { StoreKey } from '../../../../volume-plugin/object/signing.ts';
import { type Act, callerOf, FakeHttp, getOf, KEY } from './calling-scene.ts';
import { answerOf, clientOf, contextOf, RawServer } from './http/raw-server.ts';

/** Acts one after the other; the last one for ever. */
const inTurn = (...acts: Act[]): FakeHttp => new FakeHttp((_, number) => acts[number] ?? acts.at(-1) ?? {});

const REFUSED = new HttpError('refused', 'http://store.test:80 refuses connections');
const CLOSED = new HttpError('closed', 'the connection ended before the answer', { sent: true });

t.test('an answer is the result, signed for and sent once', async (t) => {
  const http = inTurn({ body: 'hello', headers: { etag: '"e"' } });
  const answer = await callerOf(http).call(getOf('a b', { query: [['versionId', 'v']] }), contextOf());
  t.match(answer, { status: 200, refusal: undefined, repeated: false });
  t.equal(answer.body.toString(), 'hello');
  t.equal(http.requests.length, 1);
  t.match(http.requests[0], { method: 'GET', target: '/bucket/a%20b?versionId=v', headers: { host: 'store.test' } });
  t.match(http.requests[0]?.headers['authorization'], /^AWS4-HMAC-SHA256 Credential=AKIA/);
});

t.test('errors that are final are answers, with what they say', async (t) => {
  for (const [status, code] of [
    [404, 'NoSuchKey'],
    [412, 'PreconditionFailed'],
    [403, 'AccessDenied'],
    [409, 'BucketNotEmpty'],
    [301, 'PermanentRedirect'],
    [501, 'NotImplemented'],
    [400, 'InvalidArgument'],
  ] as const) {
    const http = inTurn({ status, code, headers: { 'x-amz-request-id': 'R1' } });
    const { refusal } = await callerOf(http).call(getOf('k'), contextOf());
    t.same(refusal, { status, code, message: 'a < b', requestId: 'R1' });
    t.equal(http.requests.length, 1, code);
  }
  const page = await callerOf(inTurn({ status: 404, body: '<html>not here' })).call(getOf('k'), contextOf());
  t.same(page.refusal, { status: 404, code: '', message: '', requestId: '' }, 'a page of a proxy has no code');
  const inHeader = Buffer.from('<Error><Code>SymlinkTargetNotExist</Code></Error>').toString('base64');
  const head = inTurn({ status: 404, headers: { 'x-oss-err': inHeader } });
  t.equal(
    (await callerOf(head).call(getOf('k', { method: 'HEAD' }), contextOf())).refusal?.code,
    'SymlinkTargetNotExist',
  );
});

t.test('what fails in passing is repeated, and said to have been', async (t) => {
  for (const act of [
    { status: 500, code: 'InternalError' },
    { status: 502 },
    { status: 504 },
    { status: 400, code: 'RequestTimeout' },
    CLOSED,
    new HttpError('truncated', 'cut', { sent: true }),
    new HttpError('silent', 'silent', { sent: true }),
  ]) {
    const http = inTurn(act, act, {});
    const caller = callerOf(http);
    t.match(await caller.call(getOf('k'), contextOf()), { status: 200, repeated: true });
    t.match(caller.counts, { calls: 1, repeats: 2 });
  }
});

t.test('what was sent twice because a kept connection died is said to have been repeated', async (t) => {
  let served = 0;
  const server = await RawServer.listen(t, {
    serve: (request, socket) => {
      served += 1;
      // Carried out, and then the connection dies before the answer.
      if (request.turn === 1) socket.destroy();
      else socket.write(served <= 1 ? answerOf('') : answerOf('', '412 Precondition Failed'));
    },
  });
  const caller = callerOf(clientOf(t));
  const put = { ...getOf('k', { method: 'PUT' }), address: new BucketAddress(server.origin, 'b', 'path').of('k') };
  t.match(await caller.call(put, contextOf()), { status: 200, repeated: false });
  t.match(await caller.call(put, contextOf()), { status: 412, repeated: true });
  t.match(caller.counts, { repeats: 0 });
});

t.test('what was certainly not carried out is repeated, and not said to have been', async (t) => {
  for (const act of [{ status: 503, code: 'SlowDown' }, { status: 503 }, { status: 429 }, REFUSED]) {
    const http = inTurn(act, {});
    t.match(await callerOf(http).call(getOf('k'), contextOf()), { status: 200, repeated: false });
    const post = inTurn(act, {});
    const begun = await callerOf(post).call(getOf('k', { method: 'POST', repeatable: false }), contextOf());
    t.equal(begun.status, 200, 'even when it may not be repeated');
    t.equal(post.requests.length, 2);
  }
});

t.test('what may not be repeated is not, when it may have been carried out', async (t) => {
  for (const act of [CLOSED, { status: 500, code: 'InternalError' }]) {
    const http = inTurn(act, {});
    const call = getOf('k', { action: 's3:PutObject', method: 'POST', repeatable: false });
    await t.rejects(callerOf(http).call(call, contextOf()), { name: 'StoreError', failure: 'UNREACHABLE', key: 'k' });
    t.equal(http.requests.length, 1);
    t.equal(http.requests[0]?.repeatable, false);
  }
});

t.test('at the deadline the last failure is told, not that time ran out', async (t) => {
  for (const [act, failure, message] of [
    [{ status: 503, code: 'SlowDown' }, 'THROTTLED', /s3:GetObject: 503 SlowDown/],
    [{ status: 500, code: 'InternalError' }, 'UNREACHABLE', /500 InternalError/],
    [REFUSED, 'UNREACHABLE', /store\.test:80 refuses connections/],
  ] as const) {
    const begun = performance.now();
    const failing = callerOf(inTurn(act), { random: () => 0.5 }).call(getOf('k'), contextOf(150));
    await t.rejects(failing, { failure, message, passing: true, key: 'k' });
    t.ok(performance.now() - begun < 1_000);
  }
  const silent = callerOf(inTurn('silent')).call(getOf('k'), contextOf(40));
  await t.rejects(silent, { failure: 'DEADLINE', message: /http:\/\/store\.test:80 has not answered in time/ });
  const later = callerOf(inTurn(REFUSED, 'silent')).call(getOf('k'), contextOf(60));
  await t.rejects(later, { failure: 'UNREACHABLE', message: /refuses/ });
});

t.test('an outage is not made worse: repetitions of all calls have one budget', async (t) => {
  const http = inTurn({ status: 500 });
  const caller = callerOf(http, { repetitions: { burst: 10, perSecond: 20 } });
  const calls = Array.from({ length: 40 }, () => caller.call(getOf('k'), contextOf(300)));
  for (const { status } of await Promise.allSettled(calls)) t.equal(status, 'rejected');
  t.ok(http.requests.length <= 40 + 10 + 0.4 * 20, `${http.requests.length} requests of 40 calls`);
  t.ok(http.requests.length > 45, 'and it is used');
});

t.test('pauses grow and have jitter', async (t) => {
  const http = inTurn({ status: 500 }, { status: 500 }, { status: 500 }, {});
  await callerOf(http, { random: () => 0.99 }).call(getOf('k'), contextOf());
  const pauses = http.sentAt.slice(1).map((at, index) => at - (http.sentAt[index] ?? 0));
  for (const [index, least] of [45, 90, 180].entries()) t.ok((pauses[index] ?? 0) > least, `${pauses[index]} ms`);
});

t.test('a clock that is off is corrected by that of the store', async (t) => {
  const now = Date.UTC(2026, 10, 22, 12, 0, 0);
  const theirs = now + 3_600_000;
  const date = new Date(theirs).toUTCString();
  const skewed = { status: 403, code: 'RequestTimeTooSkewed', headers: { date } };
  const http = inTurn(skewed, {});
  const caller = callerOf(http, { clock: () => now });
  t.equal(caller.skew, undefined);
  t.equal((await caller.call(getOf('k'), contextOf())).status, 200);
  const dates = http.requests.map(({ headers }) => headers['x-amz-date']);
  t.same(dates, ['20261122T120000Z', '20261122T130000Z']);
  await caller.call(getOf('k'), contextOf());
  t.equal(http.requests.at(-1)?.headers['x-amz-date'], '20261122T130000Z', 'and stays corrected');
  t.match(caller.skew, /3600 s behind|3601 s behind/);
  const never = callerOf(inTurn(skewed), { clock: () => now }).call(getOf('k'), contextOf());
  await t.rejects(never, { failure: 'SKEWED', message: /360\d s behind/, passing: false });
  const silentHead = inTurn({ status: 403, headers: { date } }, {});
  const head = callerOf(silentHead, { clock: () => now }).call(getOf('k', { method: 'HEAD' }), contextOf());
  t.equal((await head).status, 200, 'answers to HEAD say nothing but have a date');
  const denied = inTurn({ status: 403, headers: { date: new Date(now).toUTCString() } });
  const still = await callerOf(denied, { clock: () => now }).call(getOf('k', { method: 'HEAD' }), contextOf());
  t.equal(still.status, 403);
  t.equal(denied.requests.length, 1);
});

t.test('a key that has ended is replaced, once', async (t) => {
  const asked: (string | undefined)[] = [];
  const keysOf = (second: StoreKey): KeySource => ({
    key: async (_, refused) => {
      asked.push(refused?.id);
      return refused === undefined ? { ...KEY, token: 't' } : second;
    },
  });
  for (const [status, code, method] of [
    [400, 'ExpiredToken', 'GET'],
    [403, 'InvalidAccessKeyId', 'GET'],
    [403, 'SecurityTokenExpired', 'GET'],
    [400, undefined, 'HEAD'],
  ] as const) {
    asked.length = 0;
    const http = inTurn({ status, ...(code !== undefined && { code }) }, {});
    const caller = callerOf(http, { keys: keysOf({ id: 'AKIB', secret: 'new' }) });
    t.equal((await caller.call(getOf('k', { method }), contextOf())).status, 200);
    t.same(asked, [undefined, 'AKIA']);
    t.match(http.requests[1]?.headers['authorization'], /Credential=AKIB/);
  }
  const http = inTurn({ status: 400, code: 'ExpiredToken' });
  const answer = await callerOf(http, { keys: keysOf(KEY) }).call(getOf('k'), contextOf());
  t.equal(answer.refusal?.code, 'ExpiredToken', 'then it is the answer');
  t.equal(http.requests.length, 2);
});

t.test('without a key the call fails; a source that is away for a moment is asked again', async (t) => {
  const http = inTurn({});
  const none: KeySource = {
    key: () => Promise.reject(new PluginError('PROVIDER_AUTH', { provider: 'aws', reason: 'no role' })),
  };
  await t.rejects(callerOf(http, { keys: none }).call(getOf('k'), contextOf()), {
    failure: 'CREDENTIALS',
    message: /no role/,
    passing: false,
  });
  t.equal(http.requests.length, 0);
  let tries = 0;
  const late: KeySource = {
    key: async () => {
      tries += 1;
      if (tries === 1) throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws' });
      return KEY;
    },
  };
  t.match(await callerOf(http, { keys: late }).call(getOf('k'), contextOf()), { status: 200, repeated: false });
});

t.test('the text of an error is not put into the memory that is for data', async (t) => {
  const into = Buffer.alloc(64, 0x2e);
  const http = inTurn({ status: 404, code: 'NoSuchKey' }, { body: 'data' });
  const caller = callerOf(http);
  t.equal((await caller.call(getOf('k', { into: () => into }), contextOf())).refusal?.code, 'NoSuchKey');
  t.ok(into.equals(Buffer.alloc(64, 0x2e)));
  await caller.call(getOf('k', { into: () => into }), contextOf());
  t.equal(into.toString('latin1', 0, 5), 'data.');
});

t.test('a request that cannot be sent, or an answer that cannot be taken, is said to be invalid at once', async (t) => {
  for (const trouble of ['unsendable', 'too-large'] as const) {
    const http = inTurn(new HttpError(trouble, 'no'));
    await t.rejects(callerOf(http).call(getOf('k'), contextOf()), { name: 'StoreError', failure: 'INVALID' });
    t.equal(http.requests.length, 1);
  }
});

t.test('what a proxy answers is not taken for the answer of the store', async (t) => {
  const said = async (act: Act, more = {}) => {
    const http = inTurn(act);
    http.proxy = 'http://proxy.test:3128';
    return await callerOf(http)
      .call(getOf('k', { atOnce: true, ...more }), contextOf())
      .then(
        (answer) => answer.refusal?.code ?? 'none',
        (error: Error & { cause?: HttpError }) => `${error.cause?.trouble}: ${error.message}`,
      );
  };
  const page = '<html>not allowed</html>';
  t.match(
    await said({ status: 403, body: page }),
    /^proxy: .*the proxy http:\/\/proxy\.test:3128 answers 403 for http:\/\/store\.test:80/,
  );
  t.match(await said({ status: 502 }), /^proxy: .*answers 502/);
  t.match(await said({ status: 407, body: page }), /^proxy: .*wants a name and a password/);
  t.match(await said({ status: 407 }, { method: 'HEAD' }), /^proxy: .*wants a name and a password/);
  t.equal(await said({ status: 403, code: 'AccessDenied' }), 'AccessDenied', 'that is the store');
  t.equal(await said({ status: 403, headers: { 'x-amz-request-id': 'R1' } }), '', 'and so is this');
  t.equal(await said({ status: 403 }, { method: 'HEAD' }), '', 'of which nobody knows');
  t.equal(await said({ status: 404 }), '');
});

t.test('what does not pass by itself is told at once where that is wanted, and repeated else', async (t) => {
  const expired = new HttpError('certificate', 'https://store.test:443: its certificate has expired');
  const asked = inTurn(expired, {});
  await t.rejects(callerOf(asked).call(getOf('k', { atOnce: true }), contextOf()), {
    message: /its certificate has expired/,
  });
  t.equal(asked.requests.length, 1);
  const patient = inTurn(expired, {});
  t.equal((await callerOf(patient).call(getOf('k'), contextOf())).status, 200, 'it has been renewed');
  const away = inTurn(REFUSED, {});
  t.equal((await callerOf(away).call(getOf('k', { atOnce: true }), contextOf())).status, 200, 'this may pass');
});
