// TLS with authorities of our own, and proxies.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { HttpClient } from '../../../../../volume-plugin/object/http/http-client.ts';
import type { HttpError } from '../../../../../volume-plugin/object/http/http-error.ts';
import { originOf } from '../../../../../volume-plugin/object/http/origin.ts';
import { makeCertificates } from '../../../../rig/certificates.ts';
import { answerOf, ask, clientOf, RawServer, type Received, type Tap } from './raw-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'drayage-tls-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const files = await makeCertificates(folder, ['127.0.0.1'], ['store.test']);
const other = await makeCertificates(join(folder, 'other'), ['127.0.0.1']);
const ca = readFileSync(files.ca, 'utf8');
const otherCa = readFileSync(other.ca, 'utf8');
const tls = { cert: readFileSync(files.serverCert), key: readFileSync(files.serverKey) };

const echo = ({ line, body }: Received, socket: Socket): void => void socket.write(answerOf(`${line} ${body.length}`));
const serving = (t: Tap, serve = echo): Promise<RawServer> => RawServer.listen(t, { serve, tls });

const failureOf = async (answer: Promise<unknown>): Promise<HttpError> =>
  answer.then(
    () => {
      throw new Error('it has not failed');
    },
    (error: HttpError) => error,
  );

t.test('bodies of all sizes arrive whole in both directions', async (t) => {
  const server = await serving(t, ({ body }, socket) => void socket.write(answerOf(body)));
  const client = clientOf(t, { ca });
  for (const size of [0, 1, 16_384, 16_385, 3_000_001]) {
    const body = Buffer.alloc(size, 'drayage');
    const into = Buffer.alloc(size);
    const answer = await ask(client, server, {
      method: 'PUT',
      body: [body.subarray(0, 7), body.subarray(7)],
      into: () => into,
    });
    t.ok(answer.body.equals(body), `${size} bytes`);
    t.ok(size === 0 || answer.body.buffer === into.buffer);
  }
  t.equal(server.sockets.length, 1);
});

t.test('a second connection takes up the session of the first', async (t) => {
  const resumed: boolean[] = [];
  const server = await serving(t, (request, socket) => {
    resumed[request.connection] = (socket as TLSSocket).isSessionReused();
    socket.end(answerOf('', '200 OK', ['Connection: close']));
  });
  const client = clientOf(t, { ca });
  for (let round = 0; round < 3; round += 1) await ask(client, server);
  t.same(resumed, [false, true, true]);
});

t.test('a certificate that the authorities do not vouch for is refused', async (t) => {
  const server = await serving(t);
  for (const options of [{ ca: otherCa }, {}]) {
    const failure = await failureOf(ask(clientOf(t, options), server));
    t.match({ ...failure }, { trouble: 'tls', sent: false });
    t.match(failure.message, /TLS with https:\/\/127\.0\.0\.1:\d+ fails: /);
  }
  t.equal(server.requests.length, 0);
});

t.test('a certificate for another name is refused, unless that is the name which is asked for', async (t) => {
  const server = await serving(t);
  const named = { origin: originOf(true, 'localhost', server.port) };
  const failure = await failureOf(ask(clientOf(t, { ca }), named));
  t.match({ ...failure }, { trouble: 'tls' });
  t.match(failure.message, /localhost/);
  const asked = clientOf(t, { ca, serverName: 'store.test' });
  t.equal((await ask(asked, named)).status, 200);
  t.match(server.requests[0]?.head, /host: localhost:/, 'which is not the name of the origin');
  const socket = server.sockets.at(-1) as TLSSocket & { servername?: string };
  t.equal(socket.servername, 'store.test');
});

t.test('authorities that are none are said to be none', async (t) => {
  const server = await serving(t);
  for (const text of ['none', '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n', '']) {
    const failure = await failureOf(ask(clientOf(t, { ca: text }), server));
    t.match({ ...failure }, { trouble: 'tls', sent: false });
  }
});

t.test('a server without TLS is said to have none, and one with TLS is no HTTP', async (t) => {
  const plain = await RawServer.listen(t, {
    serve: echo,
    meet: (socket) => void socket.end('HTTP/1.1 400 Bad\r\n\r\n'),
  });
  const failure = await failureOf(ask(clientOf(t), { origin: originOf(true, '127.0.0.1', plain.port) }));
  t.match({ ...failure }, { trouble: 'tls' });
  const server = await serving(t);
  const wrong = await failureOf(ask(clientOf(t), { origin: originOf(false, '127.0.0.1', server.port) }));
  t.ok(['garbage', 'closed'].includes(wrong.trouble), wrong.message);
});

t.test('a handshake that never ends is given up', async (t) => {
  const silent = await RawServer.listen(t, { serve: echo, meet: () => undefined });
  const client = clientOf(t, { connectMs: 60 });
  const failure = await failureOf(ask(client, { origin: originOf(true, '127.0.0.1', silent.port) }));
  t.match({ ...failure }, { trouble: 'unreachable', sent: false });
  t.match(failure.message, /within 60 ms/);
});

/** A proxy that connects to wherever it is told, or answers `refusal` to CONNECT. */
const proxying = (t: Tap, refusal?: string): Promise<RawServer> =>
  RawServer.listen(t, {
    serve: ({ line, head }, socket) => {
      if (!line.startsWith('CONNECT ')) {
        socket.write(answerOf(`${line}|${/proxy-authorization: (.*)/i.exec(head)?.[1]?.trim() ?? ''}`));
        return;
      }
      if (refusal !== undefined) {
        socket.end(refusal);
        return;
      }
      const port = Number(line.split(':').at(-1));
      socket.removeAllListeners('data');
      const onward = connect(port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        socket.pipe(onward).pipe(socket);
      });
      onward.on('error', () => socket.destroy());
      socket.on('close', () => onward.destroy());
    },
  });

t.test('a proxy gets plain requests in absolute form, with its password', async (t) => {
  const proxy = await proxying(t);
  const client = clientOf(t, { proxy: `http://user:p%40ss@127.0.0.1:${proxy.port}` });
  const origin = originOf(false, 'bucket.store.test', 8080);
  const answer = await ask(client, { origin }, { target: '/a?b=c' });
  const basic = Buffer.from('user:p@ss').toString('base64');
  t.equal(answer.body.toString(), `GET http://bucket.store.test:8080/a?b=c|Basic ${basic}`);
  t.match(proxy.requests[0]?.head, /host: bucket\.store\.test:8080/);
});

t.test('TLS goes through a proxy end to end, large bodies too', async (t) => {
  const server = await serving(t, ({ body }, socket) => void socket.write(answerOf(body)));
  const proxy = await proxying(t);
  const client = clientOf(t, { ca, proxy: `http://127.0.0.1:${proxy.port}/` });
  const body = [Buffer.alloc(2_000_000, 'drayage')];
  for (const into of [undefined, Buffer.alloc(2_000_000)]) {
    const answer = await ask(client, server, { method: 'PUT', body, ...(into !== undefined && { into: () => into }) });
    t.ok(answer.body.equals(Buffer.concat(body)));
  }
  t.equal(proxy.requests.length, 1, 'a connection through it is kept');
  t.match(proxy.requests[0]?.head, new RegExp(`CONNECT 127.0.0.1:${server.port} HTTP/1.1`));
  t.notMatch(server.requests[0]?.head, /proxy-authorization/);
});

t.test('a proxy that refuses is told from a store that does', async (t) => {
  for (const [refusal, message] of [
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /wants other credentials/],
    ['HTTP/1.1 503 Busy\r\n\r\n', /answers 503/],
    ['SSH-2.0-OpenSSH\r\n\r\n', /is no proxy/],
    ['', /closes the connection/],
  ] as const) {
    const proxy = await proxying(t, refusal);
    const client = clientOf(t, { proxy: `http://127.0.0.1:${proxy.port}` });
    const failure = await failureOf(ask(client, { origin: originOf(true, 'store.test', 443) }));
    t.match({ ...failure }, { trouble: 'proxy', sent: false });
    t.match(failure.message, message);
  }
  const gone = await failureOf(ask(clientOf(t, { proxy: 'http://127.0.0.1:1' }), { origin: originOf(true, 'h', 443) }));
  t.equal(gone.trouble, 'refused');
  t.match(gone.message, /the proxy http:\/\/127\.0\.0\.1:1 refuses connections/);
});

t.test('a proxy that is given in another way is refused without its password', async (t) => {
  for (const proxy of ['socks5://user:secret@h:1', 'h:3128', 'http://user:secret@h/path', '']) {
    t.throws(() => new HttpClient({ proxy }), { name: 'HttpError', trouble: 'proxy', message: /^((?!secret).)*$/ });
  }
});
