// Against real TCP servers, good and bad ones.
import { createServer, type Server, type Socket } from 'node:net';
import t from 'tap';
import { newContext, now } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import type { RpcCall } from '../../../../volume-plugin/nfs/rpc.ts';
import { RpcConnection, withConnection } from '../../../../volume-plugin/nfs/rpc-connection.ts';
import { XdrWriter } from '../../../../volume-plugin/nfs/xdr.ts';
import { type Manners, RpcServer, type Served, type ServedCall } from './rpc-server.ts';

const ADDRESS = '127.0.0.1';
const LATER_MS = 150;

const SILENT = { trouble: 'silent', message: /takes the connection and does not answer/ };
const CLOSED = { trouble: 'closed', message: /cuts it off/ };
const GARBAGE = { trouble: 'garbage', message: /no answer of NFS/ };

const context = (ms = 5_000) => newContext(silentLogger, ms);

/** Asks for a number and gets one more. */
const next = (value: number): RpcCall<number> => ({
  program: 7,
  version: 1,
  procedure: 1,
  write: (args) => args.u32(value),
  read: (results) => results.u32(),
});

const increase = ({ args }: ServedCall): Served => ({ results: new XdrWriter().u32(args.u32() + 1) });

const serving = async (t: Tap, serve: (call: ServedCall) => Served, manners?: Manners): Promise<RpcServer> => {
  const server = await RpcServer.listen(serve, manners);
  t.teardown(() => server.close());
  return server;
};

/** A server that does with each connection what it is told. */
const raw = async (t: Tap, meet: (socket: Socket) => void): Promise<number> => {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    meet(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, ADDRESS, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
};

/** A record with a number for its result. */
const answerOf = (xid: number, result: number): Buffer =>
  new XdrWriter().u32(0x8000001c).u32(xid).u32(1).u32(0).u32(0).u32(0).u32(0).u32(result).bytes;

type Tap = { teardown(work: () => unknown): void };

const ask = (port: number, ms = 5_000): Promise<number> =>
  withConnection({ address: ADDRESS, port, from: 'any' }, (one, c) => one.call(next(41), c), ms, context());

t.test('a call is answered, in one fragment, in many, and byte by byte', async (t) => {
  for (const manners of [{}, { fragment: 3 }, { fragment: 1, dribble: true }]) {
    const server = await serving(t, increase, manners);
    t.equal(await ask(server.port), 42, JSON.stringify(manners));
  }
});

t.test('calls overlap on one connection, and each gets its own answer', async (t) => {
  const server = await serving(t, increase);
  const connection = await RpcConnection.open(ADDRESS, server.port, 'any', context());
  t.teardown(() => connection.close());
  const numbers = Array.from({ length: 50 }, (_, at) => at);
  t.same(
    await Promise.all(numbers.map((number) => connection.call(next(number), context()))),
    numbers.map((number) => number + 1),
  );
  t.equal(connection.ownAddress, ADDRESS);
});

t.test('a server that takes the connection and says nothing is silent, in time', async (t) => {
  const server = await serving(t, () => 'silence');
  const before = now();
  await t.rejects(ask(server.port, LATER_MS), SILENT);
  t.ok(now() - before < 10 * LATER_MS);
});

t.test('an answer to a call that nobody made is as good as none', async (t) => {
  const server = await serving(t, increase, { xidShift: 1_000 });
  await t.rejects(ask(server.port, LATER_MS), SILENT);
});

t.test('a late answer to a call that was given up is not taken for that to the next', async (t) => {
  const xids: number[] = [];
  const port = await raw(t, (socket) =>
    socket.on('data', (call) => {
      xids.push(call.readUInt32BE(4));
      // To the first call only when the second has come, which differs from what that gets.
      if (xids.length === 2) for (const [at, xid] of xids.entries()) socket.write(answerOf(xid, at + 1));
    }),
  );
  const connection = await RpcConnection.open(ADDRESS, port, 'any', context());
  t.teardown(() => connection.close());
  await t.rejects(connection.call(next(1), context(50)), SILENT);
  t.equal(await connection.call(next(5), context()), 2);
});

t.test('a connection that is cut off before the answer, or in its midst, is not waited for', async (t) => {
  const server = await serving(t, () => 'hang up');
  await t.rejects(ask(server.port), CLOSED);
  const midst = await raw(t, (socket) => socket.once('data', () => socket.end(Buffer.of(0x80, 0, 0, 100, 1, 2))));
  await t.rejects(ask(midst), CLOSED);
  const atOnce = await raw(t, (socket) => socket.resetAndDestroy());
  await t.rejects(ask(atOnce), /closed|cut/);
});

t.test('calls that wait, and those that come later, learn that the connection broke', async (t) => {
  const server = await serving(t, ({ procedure }) => (procedure === 9 ? 'hang up' : 'silence'));
  const connection = await RpcConnection.open(ADDRESS, server.port, 'any', context());
  const waiting = connection.call(next(1), context());
  const fatal = connection.call({ ...next(1), procedure: 9 }, context());
  await t.rejects(waiting, CLOSED);
  await t.rejects(fatal, CLOSED);
  await t.rejects(connection.call(next(1), context()), CLOSED);
});

t.test('another protocol, noise and endless records are no answers', async (t) => {
  const replies = {
    'a web server': Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
    SSH: Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
    'an endless record': Buffer.of(0x7f, 0xff, 0xff, 0xff),
    'a record without a message': Buffer.of(0x80, 0, 0, 0),
    'a record of noise': Buffer.from('800000080123456789abcdef', 'hex'),
  };
  for (const [what, bytes] of Object.entries(replies)) {
    const port = await raw(t, (socket) => socket.once('data', () => socket.write(bytes)));
    await t.rejects(ask(port), { trouble: 'garbage', message: /127\.0\.0\.1 port \d+/ }, what);
  }
});

t.test('a result that is shorter than it must be is no answer', async (t) => {
  const server = await serving(t, () => ({ results: new XdrWriter() }));
  await t.rejects(ask(server.port), GARBAGE);
});

t.test('where nobody listens the port is named', async (t) => {
  const server = await RpcServer.listen(increase);
  await server.close();
  await t.rejects(ask(server.port), { trouble: 'unreachable', port: server.port, message: /nothing listens/ });
});

t.test('a reserved port is taken by root, and freed at once', { skip: process.getuid?.() !== 0 }, async (t) => {
  const server = await serving(t, increase);
  const to = { address: ADDRESS, port: server.port, from: 'reserved' } as const;
  const ports: number[] = [];
  // More often than there are such ports: none may be left taken.
  while (ports.length < 400) {
    await withConnection(to, (one, c) => one.call(next(1), c), 5_000, context());
    ports.push(server.ports.get('7.1.1') ?? 65_535);
  }
  t.same(
    ports.filter((port) => port >= 1024),
    [],
  );
});
