import { createSocket } from 'node:dgram';
import { connect, createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { PortPublisher } from '../../../../network-plugin/ports/port-publisher.ts';
import type { PortRequest } from '../../../../network-plugin/ports/port-request.ts';
import { LoopbackProxy } from '../../../../network-plugin/ports/proxy.ts';
import type { EndpointRecord, PortRecord } from '../../../../network-plugin/state.ts';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { HOST, openLab } from '../firewall/lab.ts';

/** Host ports with real sockets, in a namespace of its own. */

const lab = await openLab([]);
t.teardown(() => lab.close());
const c: Context = newContext(silentLogger, 60_000);

const WEB = { endpoint: 'e1'.repeat(8), network: 'n1'.repeat(8) };
const DB = { endpoint: 'e2'.repeat(8), network: 'n1'.repeat(8) };
const BOTH = { address: '127.0.0.1', address6: '::1' };
const FOUR = { address: '10.64.1.2' };

const open = (
  t: Test,
  more: { range?: readonly [number, number]; now?: () => number; proxy?: LoopbackProxy } = {},
): PortPublisher => {
  const ports = new PortPublisher({ log: silentLogger, range: [40_000, 40_009], ...more });
  t.teardown(() => ports.close());
  return ports;
};
const want = (hostPort: number, more: Partial<PortRequest> = {}): PortRequest => ({
  protocol: 6,
  containerIp: undefined,
  containerPort: 80,
  hostIp: undefined,
  hostPort,
  hostPortEnd: hostPort,
  ...more,
});
const record = (hostPort: number, more: Partial<PortRecord> = {}): PortRecord => ({
  protocol: 6,
  hostIp: '',
  hostPort,
  targetIp: FOUR.address,
  targetPort: 80,
  ...more,
});
const endpoint = (owner: { endpoint: string; network: string }, ports: readonly PortRecord[]): EndpointRecord => ({
  id: owner.endpoint,
  network: owner.network,
  phase: 'joined',
  mac: '',
  link: '',
  since: 0,
  ports,
});

/** Another process's listener, as far as the kernel can tell. */
const occupy = (t: Test, port: number, host: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host, ipv6Only: true }, () => resolve(server));
    t.teardown(() => server.close());
  });
const isFree = async (t: Test, port: number, host: string): Promise<boolean> => {
  try {
    (await occupy(t, port, host)).close();
    return true;
  } catch {
    return false;
  }
};
const isFreeForUdp = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, '0.0.0.0', () => socket.close(() => resolve(true)));
  });

t.test('a published port is kept from every other process until it is released', async (t) => {
  const ports = open(t);
  t.same(await ports.reserve(WEB, [want(8080), want(9053, { protocol: 17 })], BOTH, c), [
    record(8080, { targetIp: '127.0.0.1' }),
    record(8080, { targetIp: '::1' }),
    record(9053, { targetIp: '127.0.0.1', protocol: 17 }),
    record(9053, { targetIp: '::1', protocol: 17 }),
  ]);
  for (const host of ['0.0.0.0', '127.0.0.1', HOST[4], '::', '::1']) t.notOk(await isFree(t, 8080, host), host);
  t.notOk(await isFreeForUdp(9053));
  await ports.release(WEB.endpoint);
  t.ok(await isFree(t, 8080, '0.0.0.0'));
  t.ok(await isFreeForUdp(9053));
  t.same(ports.list(), []);
  await ports.release(WEB.endpoint);
});

t.test('a port of another endpoint is refused with its owner', async (t) => {
  const ports = open(t);
  await ports.reserve(WEB, [want(8080)], FOUR, c);
  const owner = `endpoint ${WEB.endpoint.slice(0, 12)} (${FOUR.address}) of network ${WEB.network.slice(0, 12)}`;
  for (const hostIp of [undefined, '0.0.0.0', HOST[4]]) {
    await t.rejects(ports.reserve(DB, [want(8080, { hostIp })], FOUR, c), {
      code: 'PORT_TAKEN',
      context: { owner, port: 8080 },
    });
  }
  await ports.reserve(DB, [want(8080, { protocol: 17 })], FOUR, c);
  await t.rejects(ports.reserve(DB, [want(7000), want(7000)], FOUR, c), { code: 'PORT_TAKEN' }, 'twice in one request');
});

t.test('the same port on different host addresses is no conflict', async (t) => {
  const ports = open(t);
  t.same(await ports.reserve(WEB, [want(8080, { hostIp: '127.0.0.1' })], FOUR, c), [
    record(8080, { hostIp: '127.0.0.1' }),
  ]);
  t.same(await ports.reserve(DB, [want(8080, { hostIp: HOST[4] })], FOUR, c), [record(8080, { hostIp: HOST[4] })]);
});

t.test('a port of another process is refused, and how to find it is said', async (t) => {
  const ports = open(t);
  await occupy(t, 8080, '127.0.0.1');
  const error = await ports.reserve(WEB, [want(8080)], FOUR, c).catch((thrown: unknown) => thrown);
  t.match(error, { code: 'PORT_TAKEN', message: /another process on this host .*ss -lnpt "sport = :8080" names it/ });
  t.same(ports.list(), []);
});

t.test('all ports of a request or none', async (t) => {
  const ports = open(t);
  await occupy(t, 8082, '0.0.0.0');
  await t.rejects(ports.reserve(WEB, [want(8080), want(0), want(8082)], BOTH, c), { code: 'PORT_TAKEN' });
  t.same(ports.list(), []);
  t.ok(await isFree(t, 8080, '::'));
});

t.test('a range gives its first free port', async (t) => {
  const ports = open(t);
  await occupy(t, 8080, '::');
  const range = want(8080, { hostPortEnd: 8082 });
  const hostPorts = async (): Promise<number[]> =>
    (await ports.reserve(WEB, [range], BOTH, c)).map(({ hostPort }) => hostPort);
  t.same(await hostPorts(), [8081, 8081], 'one port for both families, though IPv4 had the first free');
  t.same(await hostPorts(), [8082, 8082]);
  await t.rejects(hostPorts(), { code: 'PORTS_EXHAUSTED', message: /8080-8082/ });
});

t.test('any port is the next of the range of the host, and comes after ports asked for by number', async (t) => {
  const ports = open(t);
  const hostPorts = async (...requests: PortRequest[]): Promise<number[]> =>
    (await ports.reserve(WEB, requests, FOUR, c)).map(({ hostPort }) => hostPort);
  t.same(await hostPorts(want(0), want(40_000)), [40_001, 40_000]);
  t.same(await hostPorts(want(0)), [40_002]);
  await ports.release(WEB.endpoint);
  t.same(await hostPorts(want(0)), [40_003], 'a port that was just given back rests');
  t.same(
    await hostPorts(...Array.from({ length: 8 }, () => want(0))),
    [40_004, 40_005, 40_006, 40_007, 40_008, 40_009, 40_000, 40_001],
  );
  t.same(await hostPorts(want(0)), [40_002]);
  await t.rejects(hostPorts(want(0)), { code: 'PORTS_EXHAUSTED' });
});

t.test('callers at once get different ports, or the name of who was first', async (t) => {
  const ports = open(t, { range: [41_000, 41_099] });
  const owners = Array.from({ length: 40 }, (_, i) => ({ endpoint: `e${i}`, network: 'n' }));
  const found = await Promise.all(owners.map((owner) => ports.reserve(owner, [want(0)], BOTH, c)));
  t.equal(new Set(found.map(([port]) => port?.hostPort)).size, owners.length);
  const fixed = await Promise.allSettled(owners.map((owner) => ports.reserve(owner, [want(8080)], FOUR, c)));
  t.equal(fixed.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of fixed) if (result.status === 'rejected') t.match(result.reason.message, /used by endpoint e\d+/);
});

t.test('SCTP ports are kept among containers', async (t) => {
  const ports = open(t);
  t.same(await ports.reserve(WEB, [want(38412, { protocol: 132 })], FOUR, c), [record(38412, { protocol: 132 })]);
  await t.rejects(ports.reserve(DB, [want(38412, { protocol: 132 })], FOUR, c), {
    code: 'PORT_TAKEN',
    message: /38412\/sctp/,
  });
});

t.test('host addresses that cannot work are refused with the reason', async (t) => {
  const ports = open(t);
  for (const [request, targets, reason] of [
    [want(80, { hostIp: '192.0.2.1' }), FOUR, /this host has no such address/],
    [want(80, { hostIp: '::' }), FOUR, /the container has no IPv6 address/],
    [want(80, { hostIp: '0.0.0.0' }), { address6: '::1' }, /the container has no IPv4 address/],
    [want(80, { hostIp: '::1', protocol: 17 }), BOTH, /UDP from the IPv6 loopback/],
    [want(80), {}, /the container has no address/],
    [want(80, { hostIp: 'eth0' }), FOUR, /not an IP address/],
  ] as const) {
    await t.rejects(ports.reserve(WEB, [request], targets, c), { message: reason });
  }
});

t.test('after a restart the ports of the records are bound again; one that was taken meanwhile is told', async (t) => {
  const before = open(t);
  const kept = await before.reserve(WEB, [want(8080), want(8081)], FOUR, c);
  await before.close();
  await occupy(t, 8081, '0.0.0.0');
  const after = open(t);
  const records = [endpoint(WEB, kept)];
  const lost = [{ what: /Port 8081\/tcp is already used by another process/, repaired: false }];
  t.match(await after.restore(records, c), lost);
  t.match(await after.restore(records, c), lost, 'and told again');
  t.notOk(await isFree(t, 8080, '0.0.0.0'));
  t.same(
    after.list().map(({ hostPort, reserved }) => [hostPort, reserved]),
    [
      [8080, true],
      [8081, false],
    ],
  );
  await t.rejects(
    after.reserve(DB, [want(8081)], FOUR, c),
    { message: /used by endpoint e1e1/ },
    'it still belongs to its endpoint',
  );
});

t.test('restoring what is reserved changes nothing; what no record knows is given back after a minute', async (t) => {
  let now = 0;
  const ports = open(t, { now: () => now });
  const kept = await ports.reserve(WEB, [want(8080)], FOUR, c);
  await ports.reserve(DB, [want(8081)], FOUR, c);
  t.same(await ports.restore([endpoint(WEB, kept)], c), [], 'a reservation may not be written down yet');
  now = 61_000;
  t.match(await ports.restore([endpoint(WEB, kept), endpoint(DB, [])], c), [
    { what: /8081\/tcp was kept for endpoint e2e2/, repaired: true },
  ]);
  t.same(
    ports.list().map(({ hostPort }) => hostPort),
    [8080],
  );
  t.ok(await isFree(t, 8081, '0.0.0.0'));
});

/** What a client gets who sends a line, ends its side and reads to the end; or an error code. */
const talk = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    let text = '';
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('end', () => {
      socket.end();
      resolve(text);
    });
    socket.end('hello');
  });

t.test('connections to the IPv6 loopback are carried to the container, both ways to the end', async (t) => {
  const container = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('end', () => socket.end(`got ${text}${'.'.repeat(1 << 20)}`));
  });
  await new Promise<void>((resolve) => container.listen(80, '::1', resolve));
  const proxy = new LoopbackProxy(silentLogger);
  const ports = open(t, { proxy });
  await ports.reserve(WEB, [want(8080)], BOTH, c);
  const answer = await talk('::1', 8080);
  t.equal(answer.slice(0, 9), 'got hello');
  t.equal(answer.length, 9 + (1 << 20));
  t.equal(await talk(HOST[6], 8080), 'ECONNRESET', 'others are the firewall to let in');
  container.close();
  t.equal(await talk('::1', 8080), 'ECONNRESET', 'a container that does not listen');
  await lab.host.ask('tcp', '127.0.0.1', 1);
  t.equal(proxy.connections, 0, 'nothing is left open');
});

t.test('no more connections are carried than the limit, and releasing ends them', async (t) => {
  const container = createServer((socket) => socket.on('error', () => socket.destroy()));
  await new Promise<void>((resolve) => container.listen(80, '::1', resolve));
  const proxy = new LoopbackProxy(silentLogger, { connections: 1, connectTimeoutMs: 1000 });
  const ports = open(t, { proxy });
  await ports.reserve(WEB, [want(8080)], BOTH, c);
  const held = connect(8080, '::1');
  const ended = new Promise<void>((resolve) => held.once('close', () => resolve()));
  held.on('error', () => held.destroy());
  await new Promise<void>((resolve) => container.once('connection', () => resolve()));
  t.equal(proxy.connections, 1);
  t.equal(await talk('::1', 8080), 'ECONNRESET');
  await ports.release(WEB.endpoint);
  await ended;
  t.equal(proxy.connections, 0);
  container.close();
});
