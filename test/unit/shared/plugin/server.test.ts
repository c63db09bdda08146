import { mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/log.ts';
import { type MethodTable, PluginServer, type ServerOptions } from '../../../../shared/plugin/server.ts';

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly body: Record<string, unknown>;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const call = (socketPath: string, path: string, body: string | Buffer = '{}', method = 'POST'): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], body: JSON.parse(text) });
      });
    });
    request.on('error', reject);
    request.end(body);
  });

const start = async (t: Test, methods: MethodTable | undefined, options: Partial<ServerOptions> = {}) => {
  const folder = await mkdtemp(join(tmpdir(), 'drt-server-'));
  const path = join(folder, 'vpc.sock');
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  const server = new PluginServer({ log, implements: ['NetworkDriver', 'IpamDriver'], ...options });
  if (methods !== undefined) server.install(methods);
  await server.listen(path);
  t.teardown(async () => {
    await server.close(100);
    await rm(folder, { recursive: true, force: true });
  });
  const logged = (message: string): Record<string, unknown>[] =>
    lines.map((line) => JSON.parse(line)).filter((line) => String(line.message).includes(message));
  return { server, path, folder, logged };
};

t.test('a call is answered with its result, in the type that Docker expects', async (t) => {
  const { path } = await start(t, { '/NetworkDriver.Join': async (body) => ({ saw: body }) });
  const answer = await call(path, '/NetworkDriver.Join', '{"a":1}');
  t.same(answer, {
    status: 200,
    type: 'application/vnd.docker.plugins.v1.1+json',
    body: { saw: { a: 1 } },
  });
  t.same((await call(path, '/Plugin.Activate', '')).body, { Implements: ['NetworkDriver', 'IpamDriver'] });
  t.equal((await stat(path)).mode & 0o777, 0o600);
});

t.test('a body that is empty, broken or no object is refused with 400 and never guessed', async (t) => {
  let calls = 0;
  const count = async () => {
    calls += 1;
    return {};
  };
  const { path } = await start(t, { '/NetworkDriver.Join': count, '/NetworkDriver.GetCapabilities': count });
  const cases: Record<string, RegExp> = {
    '': /body is empty/,
    '  \n': /body is empty/,
    '{"a":': /not JSON/,
    null: /not a JSON object/,
    '[]': /not a JSON object/,
    '"x"': /not a JSON object/,
    '7': /not a JSON object/,
  };
  for (const [body, reason] of Object.entries(cases)) {
    const answer = await call(path, '/NetworkDriver.Join', body);
    t.equal(answer.status, 400, body);
    t.match(answer.body, { Err: reason, Error: reason }, body);
  }
  t.match((await call(path, '/NetworkDriver.Join', Buffer.from([0x7b, 0xff, 0x7d]))).body.Err, /not UTF-8/);
  t.equal(calls, 0);
  t.equal(
    (await call(path, '/NetworkDriver.GetCapabilities', '')).status,
    200,
    'where none is needed, none is asked for',
  );
  t.equal((await call(path, '/NetworkDriver.GetCapabilities', 'null\n')).status, 200);
});

t.test('an empty body in chunks is an empty body', async (t) => {
  const { path } = await start(t, { '/NetworkDriver.Join': async () => ({}) });
  const head =
    'POST /NetworkDriver.Join HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n';
  const socket = connect(path, () => socket.write(head));
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  t.match(text, /^HTTP\/1.1 400 /);
  t.match(text, 'body is empty');
});

t.test('unknown methods, other verbs and bodies that are too large have their own status', async (t) => {
  const { path } = await start(t, { '/NetworkDriver.Join': async () => ({}) });
  const unknown = await call(path, '/NetworkDriver.Nothing');
  t.equal(unknown.status, 404);
  t.match(unknown.body.Err, /^METHOD_UNKNOWN: .*\/NetworkDriver.Nothing/);
  t.equal((await call(path, '/constructor')).status, 404);
  t.equal((await call(path, '/__proto__')).status, 404);
  t.equal((await call(path, '/NetworkDriver.Join', '', 'GET')).status, 405);
  const large = await call(path, '/NetworkDriver.Join', JSON.stringify({ a: 'x'.repeat(2 << 20) }));
  t.equal(large.status, 413);
  t.match(large.body.Err, /^BODY_TOO_LARGE: /);
  t.equal((await call(path, '/NetworkDriver.Join', JSON.stringify({ a: 'x'.repeat(900_000) }))).status, 200);
});

t.test('errors are told with fix and request id; what is unexpected keeps its secrets', async (t) => {
  const { path, logged } = await start(t, {
    '/known': async () => {
      throw new PluginError('NETWORK_UNKNOWN', { network: 'abc' });
    },
    '/unexpected': async () => {
      throw new Error('password=hunter2');
    },
    '/sync': () => {
      throw new Error('at once');
    },
  });
  const known = await call(path, '/known');
  t.equal(known.status, 500);
  t.match(known.body.Err, /^NETWORK_UNKNOWN: Network abc is not known to this plugin\. .* \[req [0-9a-f]{6}\]$/);
  t.equal(known.body.Err, known.body.Error);
  const requestId = /\[req (\w+)\]/.exec(String(known.body.Err))?.[1];
  t.match(logged('a call failed'), [{ requestId, method: '/known' }], 'the log is found by the request id');
  const unexpected = await call(path, '/unexpected');
  t.match(unexpected.body.Err, /^INTERNAL: /);
  t.notMatch(unexpected.body.Err, 'hunter2');
  t.equal((await call(path, '/sync')).status, 500);
});

t.test('an error that is an answer like any other is no warning', async (t) => {
  const unknown = async () => {
    throw new PluginError('VOLUME_UNKNOWN', { volume: 'data' });
  };
  const ordinary = (method: string, code: string): boolean => method === '/get' && code === 'VOLUME_UNKNOWN';
  const { path, logged } = await start(t, { '/get': unknown, '/mount': unknown }, { ordinary });
  t.match((await call(path, '/get')).body.Err, /^VOLUME_UNKNOWN: /);
  t.equal(logged('a call failed').length, 0);
  t.match(logged('answered with no'), [{ level: 'debug', method: '/get', code: 'VOLUME_UNKNOWN', error: undefined }]);
  await call(path, '/mount');
  t.match(logged('a call failed'), [{ level: 'warn', method: '/mount' }]);
});

t.test('a call that takes too long is told so, goes on, and the same call joins it', async (t) => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  const { path, server, logged } = await start(
    t,
    {
      '/NetworkDriver.Join': async (_, c) => {
        runs += 1;
        await gate.promise;
        return { aborted: c.signal.aborted };
      },
    },
    { callTimeoutMs: 50 },
  );
  const late = await call(path, '/NetworkDriver.Join', '{"a":1}');
  t.equal(late.status, 500);
  t.match(late.body.Err, /^DEADLINE: NetworkDriver\.Join took longer than 0\.1 s and goes on/);
  t.equal(server.inFlight, 1);
  const again = call(path, '/NetworkDriver.Join', '{"a":1}');
  setTimeout(gate.resolve, 10);
  t.same((await again).body, { aborted: false });
  t.equal(runs, 1);
  t.equal(logged('joins the same call').length, 1);
  await call(path, '/NetworkDriver.Join', '{"a":2}');
  t.equal(runs, 2, 'another body is another call');
});

t.test('equal requests for any address are two requests', async (t) => {
  let next = 1;
  const methods: MethodTable = {
    '/IpamDriver.RequestAddress': async () => {
      const address = `10.0.0.${next++}/24`;
      await pause(20);
      return { Address: address };
    },
  };
  const { path } = await start(t, methods);
  const answers = await Promise.all([1, 2, 3].map(() => call(path, '/IpamDriver.RequestAddress', '{"PoolID":"p"}')));
  t.equal(new Set(answers.map(({ body }) => body.Address)).size, 3);
});

t.test('what nobody received is taken back', async (t) => {
  const undelivered: unknown[] = [];
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let calls = 0;
  const { path, logged } = await start(
    t,
    {
      '/IpamDriver.RequestAddress': async () => {
        const gate = gates[calls];
        calls += 1;
        await gate?.promise;
        return { Address: calls };
      },
    },
    {
      callTimeoutMs: 100,
      onUndelivered: async (method, body, result) => void undelivered.push([method, body, result]),
    },
  );
  // One hangs up …
  const request = httpRequest({ socketPath: path, path: '/IpamDriver.RequestAddress', method: 'POST', agent: false });
  request.on('error', () => undefined);
  request.end('{"a":1}');
  while (calls < 1) await pause(2);
  request.destroy();
  while (logged('hung up').length === 0) await pause(2);
  gates[0]?.resolve();
  while (undelivered.length < 1) await pause(2);
  t.same(undelivered, [['/IpamDriver.RequestAddress', { a: 1 }, { Address: 1 }]]);
  // … one is told DEADLINE …
  t.match((await call(path, '/IpamDriver.RequestAddress', '{"a":2}')).body.Err, 'DEADLINE');
  gates[1]?.resolve();
  while (undelivered.length < 2) await pause(2);
  // … and one gets it.
  t.same((await call(path, '/IpamDriver.RequestAddress', '{"a":3}')).body, { Address: 3 });
  await pause(20);
  t.equal(undelivered.length, 2);
});

t.test('a caller that hangs up is noticed, and the work goes on', async (t) => {
  const gate = Promise.withResolvers<void>();
  const finished: boolean[] = [];
  const { path, server, logged } = await start(t, {
    '/NetworkDriver.Join': async (_, c) => {
      await gate.promise;
      finished.push(c.signal.aborted);
      return {};
    },
  });
  const request = httpRequest({ socketPath: path, path: '/NetworkDriver.Join', method: 'POST', agent: false });
  request.on('error', () => undefined);
  request.end('{}');
  while (server.inFlight === 0) await pause(2);
  request.destroy();
  while (logged('hung up').length === 0) await pause(2);
  t.equal(server.inFlight, 1);
  gate.resolve();
  while (server.inFlight > 0) await pause(2);
  t.same(finished, [false]);
});

t.test('calls wait until the plugin is ready, but not for ever', async (t) => {
  const early = { '/NetworkDriver.GetCapabilities': async () => ({ Scope: 'local' }) };
  const { path, server } = await start(t, undefined, { readyTimeoutMs: 60, early });
  t.same((await call(path, '/NetworkDriver.GetCapabilities', '')).body, { Scope: 'local' }, 'some need not wait');
  t.match((await call(path, '/NetworkDriver.Join')).body.Err, /^NOT_READY: /);
  const waiting = call(path, '/NetworkDriver.Join');
  await pause(20);
  server.install({ '/NetworkDriver.Join': async () => ({ ok: true }) });
  t.same((await waiting).body, { ok: true });
});

t.test('a plugin that could not start answers why', async (t) => {
  const { path, server } = await start(t, undefined, { readyTimeoutMs: 5_000 });
  const waiting = call(path, '/NetworkDriver.Join');
  await pause(20);
  server.refuse(new PluginError('STATE_CORRUPT', { file: '/x' }));
  t.match((await waiting).body.Err, /^STATE_CORRUPT: /);
  t.match((await call(path, '/NetworkDriver.Join')).body.Err, /^STATE_CORRUPT: /);
  server.install({ '/NetworkDriver.Join': async () => ({ ok: true }) });
  t.same((await call(path, '/NetworkDriver.Join')).body, { ok: true }, 'until it has started after all');
});

t.test('a socket that a dead process left is replaced; a live one and a plain file are not', async (t) => {
  const { folder, path } = await start(t, {});
  const log = createLogger({ level: 'error', write: () => undefined });
  await t.rejects(new PluginServer({ log }).listen(path), { code: 'SOCKET_TAKEN', message: /another process listens/ });
  t.equal((await call(path, '/Plugin.Activate', '')).status, 200, 'and goes on');
  const plain = join(folder, 'plain');
  await writeFile(plain, 'precious');
  await t.rejects(new PluginServer({ log }).listen(plain), { code: 'SOCKET_TAKEN', message: /no socket/ });
  t.equal((await stat(plain)).size, 8);
  // A bound socket that nobody listens on any more: node removes its own at close, so it is moved away before.
  const stale = join(folder, 'stale');
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(`${stale}.tmp`, resolve));
  await rename(`${stale}.tmp`, stale);
  await new Promise((resolve) => dead.close(resolve));
  t.ok((await stat(stale)).isSocket());
  const server = new PluginServer({ log });
  await server.listen(stale);
  t.equal((await call(stale, '/Plugin.Activate', '')).status, 200);
  await server.close();
});

t.test('closing lets calls finish, takes no new ones and removes the socket', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { path, server } = await start(t, {
    '/NetworkDriver.Join': async () => {
      await gate.promise;
      return { done: true };
    },
  });
  const answer = call(path, '/NetworkDriver.Join');
  while (server.inFlight === 0) await pause(2);
  const closing = server.close(5_000);
  await t.rejects(call(path, '/NetworkDriver.Join', '{"b":1}'), { code: /ENOENT|ECONNREFUSED/ });
  gate.resolve();
  t.same((await answer).body, { done: true });
  await closing;
  await t.rejects(stat(path), { code: 'ENOENT' });
});

t.test('closing does not wait for ever', async (t) => {
  const { path, server, logged } = await start(t, { '/hang': () => new Promise(() => undefined) });
  const answer = call(path, '/hang').catch(() => 'cut off');
  while (server.inFlight === 0) await pause(2);
  await server.close(30);
  t.equal(await answer, 'cut off');
  t.equal(logged('still under way').length, 1);
});

t.test('each request is observed, and slow ones are logged', async (t) => {
  const seen: unknown[] = [];
  const { path, logged } = await start(
    t,
    {
      '/quick': async () => ({}),
      '/slow': () => pause(40),
    },
    { slowMs: 30, observe: ({ method, status, code }) => seen.push([method, status, code]) },
  );
  await call(path, '/quick');
  await call(path, '/slow');
  await call(path, '/none');
  await call(path, '/quick', 'x');
  t.same(seen, [
    ['/quick', 200, undefined],
    ['/slow', 200, undefined],
    ['/none', 404, 'METHOD_UNKNOWN'],
    ['/quick', 400, 'BAD_REQUEST'],
  ]);
  t.match(logged('a slow call'), [{ method: '/slow' }]);
});
