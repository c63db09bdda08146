// Against real servers, good and bad ones.
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { cancellable } from '../../../../../shared/context.ts';
import type { HttpError } from '../../../../../volume-plugin/object/http/http-error.ts';
import { originOf, parseOrigin } from '../../../../../volume-plugin/object/http/origin.ts';
import { answerOf, ask, clientOf, contextOf, RawServer, type Received, type Tap, until } from './raw-server.ts';

type Serve = (request: Received, socket: Socket) => void;

const serving = (t: Tap, serve: Serve): Promise<RawServer> => RawServer.listen(t, { serve });
const echo: Serve = ({ line, body }, socket) => void socket.write(answerOf(`${line} ${body.length}`));

/** How a promise is rejected. */
const failureOf = async (answer: Promise<unknown>): Promise<HttpError> =>
  answer.then(
    () => {
      throw new Error('it has not failed');
    },
    (error: HttpError) => error,
  );

t.test('requests in a row share a connection', async (t) => {
  const server = await serving(t, echo);
  const client = clientOf(t);
  for (const target of ['/a', '/b%20c?d=%2F', '//e/../f']) {
    const answer = await ask(client, server, { target });
    t.equal(answer.body.toString(), `GET ${target} 0`);
  }
  t.equal(server.sockets.length, 1);
  t.match(server.requests[0]?.head, new RegExp(`\r\nhost: 127.0.0.1:${server.port}`));
  t.notMatch(server.requests[0]?.head, /content-length/, 'a GET has no body, not even an empty one');
});

t.test('requests at once have connections of their own, and what came last is used first', async (t) => {
  const server = await serving(t, (request, socket) => void setTimeout(() => echo(request, socket), 20));
  const client = clientOf(t);
  await Promise.all(['/1', '/2', '/3'].map((target) => ask(client, server, { target })));
  t.equal(server.sockets.length, 3);
  for (let round = 0; round < 3; round += 1) await ask(client, server);
  const used = server.requests.slice(3).map(({ connection }) => connection);
  t.equal(new Set(used).size, 1, 'the others may grow old');
});

t.test('no more connections than allowed; the rest waits, in order', async (t) => {
  const server = await serving(t, (request, socket) => void setTimeout(() => echo(request, socket), 5));
  const client = clientOf(t, { connections: 2 });
  const order: number[] = [];
  const all = Array.from({ length: 8 }, async (_, number) => {
    await ask(client, server, { target: `/${number}` });
    order.push(number);
  });
  await wait(10);
  t.equal(client.connections, 2);
  await Promise.all(all);
  t.equal(server.sockets.length, 2);
  t.same(order.toSorted(), order);
});

t.test('a large body is read straight into the memory of the caller', async (t) => {
  const body = Buffer.alloc(5_000_000, 'drayage');
  const server = await serving(t, (_, socket) => void socket.write(answerOf(body)));
  const client = clientOf(t);
  const into = Buffer.alloc(6_000_000);
  const answer = await ask(client, server, { into: () => into });
  t.equal(answer.body.buffer, into.buffer);
  t.equal(answer.body.byteOffset, into.byteOffset);
  t.ok(answer.body.equals(body));
  t.ok((await ask(client, server)).body.equals(body), 'and into new memory without it');
});

t.test('large bodies of many pieces arrive whole, while the other side is slow', async (t) => {
  const server = await serving(t, ({ body }, socket) => void socket.write(answerOf(body)));
  const pieces = [0, 1, 1_048_575, 1_048_577, 0, 3_000_000, 5].map((size, index) => Buffer.alloc(size, `${index}abc`));
  const answer = await ask(clientOf(t), server, { method: 'PUT', body: pieces });
  t.ok(answer.body.equals(Buffer.concat(pieces)));
  t.match(server.requests[0]?.head, /\r\ncontent-length: 5097158/);
  const empty = await ask(clientOf(t), server, { method: 'PUT' });
  t.equal(empty.status, 200);
  t.match(server.requests[1]?.head, /\r\ncontent-length: 0/);
});

t.test('after an answer to HEAD the next request has its own answer', async (t) => {
  const server = await serving(t, ({ line }, socket) => {
    socket.write(line.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n' : answerOf('content'));
  });
  const client = clientOf(t);
  t.equal((await ask(client, server, { method: 'HEAD' })).body.length, 0);
  t.equal((await ask(client, server)).body.toString(), 'content');
  t.equal(server.sockets.length, 1);
});

t.test('a kept connection that the server closes meanwhile is not noticed', async (t) => {
  // It takes the second request on a connection and goes away without a word, as at the end of its patience.
  const server = await serving(t, (request, socket) => {
    if (request.turn === 1) socket.destroy();
    else echo(request, socket);
  });
  const client = clientOf(t);
  for (const target of ['/1', '/2', '/3']) t.equal((await ask(client, server, { target })).status, 200);
  t.equal(server.sockets.length, 3);
  const failure = await failureOf(ask(client, server, { repeatable: false, method: 'POST' }));
  t.match({ ...failure }, { trouble: 'closed', sent: true }, 'what may not be repeated is not');
  t.equal(server.requests.filter(({ line }) => line.startsWith('POST')).length, 1);
});

t.test('when all kept connections die at once, all requests go on over new ones', async (t) => {
  const server = await serving(t, (request, socket) => {
    if (request.turn === 1) socket.resetAndDestroy();
    else setTimeout(() => echo(request, socket), 10);
  });
  const client = clientOf(t);
  let sent = 0;
  const onSent = (): void => {
    sent += 1;
  };
  const all = () =>
    Promise.all(Array.from({ length: 10 }, (_, number) => ask(client, server, { target: `/${number}`, onSent })));
  await all();
  t.equal(sent, 10);
  t.same(
    (await all()).map(({ body }) => body.toString()),
    Array.from({ length: 10 }, (_, number) => `GET /${number} 0`),
  );
  t.ok(sent > 20, 'which is not kept secret');
});

t.test(
  'after a kept connection has died it is open whether the request was carried out, also when nobody listens any more',
  async (t) => {
    const server = await serving(t, (request, socket) => {
      if (request.turn === 0) echo(request, socket);
      else server.close();
    });
    const client = clientOf(t);
    await ask(client, server);
    t.match({ ...(await failureOf(ask(client, server, { method: 'PUT' }))) }, { trouble: 'refused', sent: true });
  },
);

t.test('a server that always closes before its answer is asked no more than twice', async (t) => {
  const server = await serving(t, (request, socket) => {
    if (server.requests.length === 1) echo(request, socket);
    else socket.destroy();
  });
  const client = clientOf(t);
  await ask(client, server);
  t.match({ ...(await failureOf(ask(client, server))) }, { trouble: 'closed', sent: true });
  t.equal(server.requests.length, 3);
});

t.test('a new connection that dies is not tried again: that is for those who know the call', async (t) => {
  const server = await serving(t, (_, socket) => socket.destroy());
  t.match({ ...(await failureOf(ask(clientOf(t), server))) }, { trouble: 'closed' });
  t.equal(server.requests.length, 1);
});

t.test('connections that the server closes while nobody uses them are forgotten', async (t) => {
  const server = await serving(t, (request, socket) => {
    echo(request, socket);
    setTimeout(() => socket.end(), 20);
  });
  const client = clientOf(t);
  await ask(client, server);
  t.ok(await until(() => client.connections === 0));
});

t.test('words that nobody asked for end a kept connection, and are no answer to the next request', async (t) => {
  const server = await serving(t, (request, socket) => {
    echo(request, socket);
    if (request.connection === 0) setTimeout(() => socket.write(answerOf('late', '408 Request Timeout')), 5);
  });
  const client = clientOf(t);
  await ask(client, server);
  t.ok(await until(() => client.connections === 0));
  t.equal((await ask(client, server, { target: '/next' })).body.toString(), 'GET /next 0');
});

t.test('two answers to one request do not cross into the next', async (t) => {
  const server = await serving(t, ({ line }, socket) => {
    socket.write(Buffer.concat([answerOf(line), answerOf('the other')]));
  });
  const client = clientOf(t);
  for (const target of ['/1', '/2']) t.equal((await ask(client, server, { target })).body.toString(), `GET ${target}`);
  t.equal(server.sockets.length, 2);
});

t.test('connections that nobody uses are closed, sooner when the server says that it will', async (t) => {
  const server = await serving(t, (_, socket) => void socket.write(answerOf('', '200 OK')));
  const client = clientOf(t, { idleMs: 80 });
  await ask(client, server);
  t.equal(client.connections, 1);
  t.ok(await until(() => client.connections === 0));
  const hasty = await serving(t, (_, socket) => {
    socket.write(answerOf('', '200 OK', ['Keep-Alive: timeout=1']));
  });
  const patient = clientOf(t, { idleMs: 60_000, silenceMs: 400 });
  await ask(patient, hasty);
  t.ok(await until(() => patient.connections === 0));
});

t.test('a body that is cut off is an error, also in the memory of the caller', async (t) => {
  const server = await serving(t, (_, socket) => {
    socket.end(answerOf(Buffer.alloc(100_000)).subarray(0, 90_000));
  });
  for (const request of [{}, { into: () => Buffer.alloc(100_000) }]) {
    const failure = await failureOf(ask(clientOf(t), server, request));
    t.match({ ...failure }, { trouble: 'truncated', sent: true });
    t.match(failure.message, /after 8\d{4} of 100000 bytes/);
  }
  const reset = await serving(t, (_, socket) => {
    socket.write(answerOf(Buffer.alloc(100_000)).subarray(0, 90_000), () => socket.resetAndDestroy());
  });
  t.match(await failureOf(ask(clientOf(t), reset)), { sent: true });
});

t.test('what is no HTTP is said to be none', async (t) => {
  const server = await RawServer.listen(t, {
    serve: () => undefined,
    meet: (socket) => void socket.write('SSH-2.0-OpenSSH_9.6\r\n'),
  });
  const failure = await failureOf(ask(clientOf(t), server));
  t.ok(['garbage', 'closed'].includes(failure.trouble), failure.trouble);
});

t.test('silence ends a request, slowness does not', async (t) => {
  const slow = await serving(t, (_, socket) => {
    const bytes = answerOf('slowly');
    let at = 0;
    const timer = setInterval(() => {
      socket.write(bytes.subarray(at, at + 8));
      at += 8;
      if (at >= bytes.length) clearInterval(timer);
    }, 40);
  });
  const client = clientOf(t, { silenceMs: 160 });
  t.equal((await ask(client, slow)).body.toString(), 'slowly', 'which takes longer than the silence');
  const silent = await serving(t, () => undefined);
  const begun = performance.now();
  const failure = await failureOf(ask(client, silent));
  t.match({ ...failure }, { trouble: 'silent', sent: true });
  t.ok(performance.now() - begun < 2_000);
  const stalled = await serving(t, (_, socket) => void socket.write(answerOf(Buffer.alloc(1000)).subarray(0, 500)));
  t.equal((await failureOf(ask(client, stalled))).trouble, 'silent', 'also in the middle of a body');
  const copying = await serving(t, (request, socket) => void setTimeout(() => echo(request, socket), 500));
  t.equal((await ask(client, copying, { patienceMs: 5_000 })).status, 200, 'unless it was to be expected');
});

t.test('a body that nobody takes is silence too', async (t) => {
  const server = await RawServer.listen(t, { serve: () => undefined, meet: (socket) => void socket.pause() });
  const client = clientOf(t, { silenceMs: 160 });
  const body = [Buffer.alloc(32 * 1024 * 1024)];
  t.match({ ...(await failureOf(ask(client, server, { method: 'PUT', body }))) }, { trouble: 'silent', sent: true });
});

t.test('an answer before the end of the request is the answer, and its connection is not used again', async (t) => {
  const server = await RawServer.listen(t, {
    serve: () => undefined,
    meet: (socket, connection) => {
      socket.once('data', () => {
        socket.write(connection === 0 ? answerOf('no', '403 Forbidden') : answerOf('yes'));
        socket.pause();
      });
    },
  });
  const client = clientOf(t);
  const body = [Buffer.alloc(32 * 1024 * 1024)];
  t.equal((await ask(client, server, { method: 'PUT', body })).status, 403);
  t.equal((await ask(client, server)).body.toString(), 'yes');
  t.equal(server.sockets.length, 2);
});

t.test('the end of the context ends a request wherever it is, and its connection', async (t) => {
  const server = await serving(t, () => undefined);
  const client = clientOf(t, { connections: 1 });
  const begun = performance.now();
  const [first, second] = await Promise.all([
    failureOf(ask(client, server, {}, contextOf(60))),
    failureOf(ask(client, server, {}, contextOf(30))),
  ]);
  t.ok(performance.now() - begun < 1_000);
  t.match({ ...first }, { trouble: 'ended', sent: true });
  t.match(first.cause, { code: 'DEADLINE' });
  t.match({ ...second }, { trouble: 'ended', sent: false }, 'this one waited for a connection');
  const { context, cancel } = cancellable(contextOf());
  const third = failureOf(ask(client, server, {}, context));
  await wait(20);
  cancel(new Error('unmounted'));
  t.match((await third).message, /unmounted/);
  t.equal((await failureOf(ask(client, server, {}, context))).trouble, 'ended', 'and before it begins');
  t.equal(client.connections, 0);
});

t.test('a request that is given up leaves nothing behind', async (t) => {
  const server = await serving(t, (request, socket) => {
    if (request.line !== 'GET /never') echo(request, socket);
  });
  const client = clientOf(t);
  const c = contextOf();
  const flight = client.begin(server.origin, { method: 'GET', target: '/never', headers: {} }, c);
  const failure = failureOf(flight.answer);
  await wait(20);
  flight.cancel();
  flight.cancel();
  t.equal((await failure).trouble, 'ended');
  t.equal((await ask(client, server, { target: '/b' })).body.toString(), 'GET /b 0');
});

t.test('what an answer is taken with may fail: that ends the request and its connection only', async (t) => {
  const server = await serving(t, echo);
  const client = clientOf(t);
  const into = (): Buffer => {
    throw new RangeError('no memory');
  };
  t.match(await failureOf(ask(client, server, { into })), { message: /no memory/ });
  t.equal((await ask(client, server)).status, 200);
});

t.test('nobody listens there', async (t) => {
  const server = await serving(t, echo);
  server.close();
  const failure = await failureOf(ask(clientOf(t), server));
  t.match({ ...failure }, { trouble: 'refused', sent: false });
  t.match(failure.message, new RegExp(`http://127.0.0.1:${server.port} refuses connections`));
});

t.test('those who wait get connections though others could not be made', async (t) => {
  const server = await serving(t, echo);
  const client = clientOf(t, { connections: 1 });
  const nobody = { origin: originOf(false, '127.0.0.1', 1) };
  const all = await Promise.allSettled([
    ...Array.from({ length: 5 }, () => ask(client, nobody)),
    ...Array.from({ length: 5 }, () => ask(client, server)),
  ]);
  t.same(
    all.map(({ status }) => status),
    [...Array(5).fill('rejected'), ...Array(5).fill('fulfilled')],
  );
});

t.test('characters that would break the request are refused, and nothing is sent', async (t) => {
  const server = await serving(t, echo);
  const client = clientOf(t);
  for (const request of [
    { headers: { 'x-amz-meta-a': 'b\r\nx-evil: 1' } },
    { headers: { 'x-a': 'b\nc' } },
    { target: '/a b' },
    { target: '/a\r\nx: 1' },
  ]) {
    t.match({ ...(await failureOf(ask(client, server, request))) }, { trouble: 'unsendable', sent: false });
  }
  t.equal(server.sockets.length, 0);
});

t.test('headers beyond ASCII go as UTF-8, which is what is signed', async (t) => {
  const server = await serving(t, echo);
  await ask(clientOf(t), server, { headers: { 'x-amz-meta-name': 'é中' } });
  t.match(server.requests[0]?.head, /x-amz-meta-name: é中/);
});

t.test('an origin may be a name or an address of either family', async (t) => {
  const six = await RawServer.listen(t, { serve: echo, host: '::1' });
  t.equal((await ask(clientOf(t), six)).status, 200);
  t.match(six.requests[0]?.head, new RegExp(`host: \\[::1\\]:${six.port}`));
  const four = await serving(t, echo);
  t.equal((await ask(clientOf(t), { origin: originOf(false, 'localhost', four.port) })).status, 200);
  for (const [text, parsed] of [
    ['https://s3.amazonaws.com', { tls: true, host: 's3.amazonaws.com', port: 443, authority: 's3.amazonaws.com' }],
    ['http://[fd00::1]:9000', { tls: false, host: 'fd00::1', port: 9000, key: 'http://[fd00::1]:9000' }],
    ['http://h', { port: 80, key: 'http://h:80', authority: 'h' }],
  ] as const) {
    t.match(parseOrigin(text), parsed);
  }
  for (const text of ['ftp://h', 'h:80', '', 'https://']) t.equal(parseOrigin(text), undefined);
});

t.test('a client that is closed ends what is under way and takes nothing new', async (t) => {
  const server = await serving(t, () => undefined);
  const client = clientOf(t, { connections: 1 });
  const both = [failureOf(ask(client, server)), failureOf(ask(client, server))];
  await wait(20);
  client.close();
  for (const failure of await Promise.all(both)) t.equal(failure.trouble, 'closed');
  t.equal((await failureOf(ask(client, server))).trouble, 'closed');
});
