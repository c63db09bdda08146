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
import { expiredCertificate, makeCertificates } from '../../../../rig/certificates.ts';
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
    t.match({ ...failure }, { trouble: 'certificate', sent: false });
    t.match(
      failure.message,
      /^https:\/\/127\.0\.0\.1:\d+: its certificate was issued by an authority that this host does not know$/,
    );
  }
  t.equal(server.requests.length, 0);
});

t.test('a certificate for another name is refused, unless that is the name which is asked for', async (t) => {
  const server = await serving(t);
  const named = { origin: originOf(true, 'localhost', server.port) };
  const failure = await failureOf(ask(clientOf(t, { ca }), named));
  t.match({ ...failure }, { trouble: 'certificate' });
  t.match(failure.message, /: its certificate is for 127\.0\.0\.1, store\.test, not for localhost$/);
  const asked = clientOf(t, { ca, serverName: 'store.test' });
  t.equal((await ask(asked, named)).status, 200);
  t.match(server.requests[0]?.head, /host: localhost:/, 'which is not the name of the origin');
  const socket = server.sockets.at(-1) as TLSSocket & { servername?: string };
  t.equal(socket.servername, 'store.test');
});

t.test('a certificate that has expired is told from one that is not known', async (t) => {
  const { cert, key } = await expiredCertificate(folder, files);
  const server = await RawServer.listen(t, { serve: echo, tls: { cert: readFileSync(cert), key: readFileSync(key) } });
  const failure = await failureOf(ask(clientOf(t, { ca }), server));
  t.match({ ...failure }, { trouble: 'certificate', sent: false });
  t.match(failure.message, /: its certificate has expired \(it is \d{4}-\d\d-\d\d here\)$/);
});

t.test('authorities that are none vouch for nobody', async (t) => {
  const server = await serving(t);
  for (const text of ['none', '-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n', '']) {
    const failure = await failureOf(ask(clientOf(t, { ca: text }), server));
    t.match({ ...failure }, { trouble: 'certificate', sent: false });
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
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /wants a name and a password/],
    ['HTTP/1.1 503 Busy\r\n\r\n', /answers 503 for store\.test:443/],
    ['SSH-2.0-OpenSSH\r\n\r\n', /is no proxy/],
    ['', /closes the connection/],
  ] as const) {
    const proxy = await proxying(t, refusal);
    const client = clientOf(t, { proxy: `http://127.0.0.1:${proxy.port}` });
    const failure = await failureOf(ask(client, { origin: originOf(true, 'store.test', 443) }));
    t.match({ ...failure }, { trouble: 'proxy', sent: false });
    t.match(failure.message, message);
  }
});

t.test('a proxy that is away is told from a store that is', async (t) => {
  for (const tls of [true, false]) {
    const client = clientOf(t, { proxy: 'http://127.0.0.1:1' });
    const gone = await failureOf(ask(client, { origin: originOf(tls, 'h', 443) }));
    t.equal(gone.trouble, 'proxy');
    t.match(gone.message, /the proxy http:\/\/127\.0\.0\.1:1 refuses connections/);
    const nameless = clientOf(t, { proxy: 'http://proxy.invalid:3128' });
    const unknown = await failureOf(ask(nameless, { origin: originOf(tls, 'h', 443) }));
    t.match({ ...unknown }, { trouble: 'proxy', sent: false });
    t.match(unknown.message, /the proxy http:\/\/proxy\.invalid:3128: the name cannot be resolved/);
  }
  const mute = await RawServer.listen(t, { serve: echo, meet: () => undefined });
  const patient = clientOf(t, { proxy: `http://127.0.0.1:${mute.port}`, connectMs: 60 });
  const late = await failureOf(ask(patient, { origin: originOf(true, 'store.test', 443) }));
  t.equal(late.trouble, 'proxy');
  t.match(late.message, /the proxy http:\S+ has not led to https:\/\/store\.test:443 within 60 ms/);
});

t.test('hosts that are excepted are reached without the proxy, over TLS and plain', async (t) => {
  const server = await serving(t);
  const plain = await RawServer.listen(t, { serve: echo });
  const away = { ca, proxy: 'http://127.0.0.1:1' };
  for (const entry of ['127.0.0.1', '127.0.0.0/8', '*']) {
    const client = clientOf(t, { ...away, noProxy: ['other.test', entry] });
    t.equal((await ask(client, server)).status, 200, entry);
    const answer = await ask(client, plain, { target: '/a' });
    t.match(answer.body.toString(), /^GET \/a \d/, 'without the origin in the target');
    t.equal(client.proxyOf(originOf(false, '127.0.0.1', 1)), undefined);
  }
  const other = clientOf(t, { ...away, noProxy: ['10.0.0.0/8', 'store.test'] });
  t.equal((await failureOf(ask(other, server))).trouble, 'proxy');
  t.equal(other.proxyOf(originOf(false, '127.0.0.1', 80)), 'http://127.0.0.1:1', 'it may answer itself');
  t.equal(other.proxyOf(originOf(true, '127.0.0.1', 443)), undefined, 'here it cannot');
});

t.test('a proxy that is given in another way is refused without its password', async (t) => {
  for (const proxy of ['socks5://user:secret@h:1', 'h:3128', 'http://user:secret@h/path', '']) {
    t.throws(() => new HttpClient({ proxy }), { name: 'HttpError', trouble: 'proxy', message: /^((?!secret).)*$/ });
  }
});
