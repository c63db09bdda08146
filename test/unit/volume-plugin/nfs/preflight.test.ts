// A look at real servers on loopback that speak as NFS servers do, or badly.
import { createServer } from 'node:net';
import t from 'tap';
import { cancellable, newContext, now } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { type Looked, ping, preflight, type Ways } from '../../../../volume-plugin/nfs/preflight.ts';
import { SYSTEM_NAMES } from '../../../../volume-plugin/nfs/server-name.ts';
import { NFS_VERSIONS, type NfsVersion } from '../../../../volume-plugin/nfs/share.ts';
import { FakeNfsServer, type NfsTraits } from './nfs-server.ts';
import type { ServedCall } from './rpc-server.ts';

const context = () => newContext(silentLogger, 10_000);
/** For servers that answer, however busy this machine is; and for those that will not. */
const PATIENT_MS = 4_000;
const SHORT_MS = 300;
/** Whatever is slower than this has waited for something else than its own deadlines. */
const HANGING_MS = 3_000;
const ALL_MINORS = [0, 1, 2];
const LINUX: NfsTraits = { minors: ALL_MINORS, three: true, mountd: 'own' };

interface Wished {
  readonly path?: string;
  readonly version?: NfsVersion;
  readonly noresvport?: boolean;
  readonly host?: string;
  readonly stepMs?: number;
  /** The usual port, of a share that names none. */
  readonly nfsPort?: number;
}

interface Tap {
  teardown(work: () => unknown): void;
}

const start = async (t: Tap, traits: NfsTraits): Promise<FakeNfsServer> => {
  const server = await FakeNfsServer.start(traits);
  t.teardown(() => server.close());
  return server;
};

const lookAt = (server: FakeNfsServer, wished: Wished = {}): Promise<Looked> => {
  const {
    path = '/srv/data',
    version,
    noresvport = false,
    host = '127.0.0.1',
    stepMs = PATIENT_MS,
    nfsPort = 0,
  } = wished;
  const share = { id: `host:${path}`, server: host, path, vendor: 'generic', versions: NFS_VERSIONS } as const;
  const ways: Ways = { names: SYSTEM_NAMES, portmapPort: server.portmapper.port, nfsPort, stepMs };
  const wish = {
    readonly: false,
    options: noresvport ? ({ noresvport: true } as const) : {},
    ...(version !== undefined && { version }),
  };
  const at = nfsPort === 0 ? { ...share, port: server.nfs.port } : share;
  return preflight(at, wish, context(), ways);
};

/** Code and text of the error that a user would see. */
const told = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error && 'toUserText' in error ? textOf(error) : String(error)),
  );

const textOf = (error: { toUserText?: unknown }): string => {
  const { toUserText } = error;
  return typeof toUserText === 'function' ? String(toUserText.call(error)) : '';
};

t.test('an export of a Linux server is found with version 4, the best minor versions first', async (t) => {
  const server = await start(t, { ...LINUX, folders: ['/srv/data'], exports: { '/srv/data': {} } });
  const looked = await lookAt(server);
  const found = { address: '127.0.0.1', ownAddress: '127.0.0.1', port: server.nfs.port };
  t.same(looked, { ...found, versions: ['4.2', '4.1', '4.0'], pathSeen: true });
  t.same(server.portmapper.calls, [], 'version 3 was not looked at');
});

t.test('the root, and paths longer than one call, are found', async (t) => {
  const deep = '/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r';
  for (const minors of [ALL_MINORS, [1]]) {
    const server = await start(t, { minors, folders: [deep] });
    for (const path of ['/', deep, '/a/b/c/d/e/f/g/h', '/a/b/c/d/e/f/g/h/i']) {
      t.ok((await lookAt(server, { path })).pathSeen, path);
    }
    t.match(await told(lookAt(server, { path: `${deep}/x/y` })), /^SHARE_MISSING: .*no "x" in \/a\/b.*\/q\/r\./);
  }
});

t.test('a server with 4.0 switched off is asked in a session, which is given back', async (t) => {
  const server = await start(t, { minors: [1, 2], folders: ['/srv/data'] });
  t.match(await lookAt(server), { versions: ['4.2', '4.1'], pathSeen: true });
  t.same(server.operations.slice(-2), [44, 57], 'session and client are destroyed');
  t.match(await told(lookAt(server, { path: '/srv/none' })), /^SHARE_MISSING/);
});

t.test('version 3 is found through the portmapper, and the mount is taken back', async (t) => {
  const server = await start(t, { ...LINUX, minors: [], exports: { '/srv': {} } });
  const looked = await lookAt(server);
  t.match(looked, { versions: ['3'], mountPort: server.mountd.port, port: server.nfs.port, pathSeen: true });
  t.same(server.mountd.calls, ['100005.3.1', '100005.3.3']);
});

t.test('version 3 is found where NFS is when the portmapper is closed off, as at clouds', async (t) => {
  for (const portmapper of ['gone', 'silent'] as const) {
    const server = await start(t, { three: true, mountd: 'nfs', portmapper, exports: { '/srv/data': {} } });
    t.match(await lookAt(server), { versions: ['3'], mountPort: server.nfs.port }, portmapper);
  }
});

t.test('version 3 is found at the port that the portmapper tells when nothing is at the usual one', async (t) => {
  const unused = await start(t, {});
  await unused.close();
  const server = await start(t, { three: true, mountd: 'own', exports: { '/srv/data': {} } });
  const nfsPort = unused.nfs.port;
  t.match(await lookAt(server, { nfsPort }), { versions: ['3'], port: server.nfs.port, mountPort: server.mountd.port });
  t.match(
    await told(lookAt(server, { nfsPort, version: '4.1' })),
    new RegExp(`^SHARE_UNREACHABLE: .*port ${nfsPort} `),
  );
});

t.test('version 3 is found over IPv6', async (t) => {
  const server = await start(t, { three: true, mountd: 'own', exports: { '/srv/data': {} }, host: '::1' });
  t.match(await lookAt(server, { host: '::1' }), { address: '::1', ownAddress: '::1', mountPort: server.mountd.port });
});

t.test('a server without a root for version 4 is used with version 3', async (t) => {
  const server = await start(t, { ...LINUX, folders: [], exports: { '/srv/data': {} } });
  t.match(await lookAt(server), { versions: ['3'], pathSeen: true });
  t.match(await told(lookAt(server, { version: '4.1' })), /^SHARE_MISSING: .*no "srv" in \/\. .*exports \/srv\/data\./);
});

t.test('only the version that is wished for is offered', async (t) => {
  const server = await start(t, { ...LINUX, folders: ['/srv/data'], exports: { '/srv/data': {} } });
  for (const version of NFS_VERSIONS) t.same((await lookAt(server, { version })).versions, [version]);
});

t.test('a version that the server does not speak is told from those that it does', async (t) => {
  const old = await start(t, { three: true, mountd: 'own', exports: { '/srv/data': {} } });
  t.match(await told(lookAt(old, { version: '4.1' })), /^SHARE_VERSION: .*host:\/srv\/data speaks NFS 3, not 4\.1\./);
  const new2 = await start(t, { minors: [1, 2], folders: ['/srv/data'] });
  t.match(await told(lookAt(new2, { version: '4.0' })), /^SHARE_VERSION: .* speaks NFS 4\.2 and 4\.1, not 4\.0\./);
  t.match(await told(lookAt(new2, { version: '3' })), /^SHARE_VERSION: .* not 3\./);
  const ancient = await start(t, {});
  t.match(
    await told(lookAt(ancient)),
    /^SHARE_VERSION: .* speaks NFS of another version, not 4\.2, 4\.1, 4\.0 and 3\./,
  );
});

t.test('a server that cuts off whoever asks for what it does not have is not asked for that', async (t) => {
  const meet = (only: number) => (call: ServedCall) =>
    call.program === 100003 && call.version !== only ? ('hang up' as const) : undefined;
  const four = await start(t, { minors: [0, 1], folders: ['/srv/data'], meet: meet(4) });
  t.match(await lookAt(four, { version: '4.1' }), { versions: ['4.1'], pathSeen: true });
  const three = await start(t, { three: true, mountd: 'own', exports: { '/srv/data': {} }, meet: meet(3) });
  t.match(await lookAt(three, { version: '3' }), { versions: ['3'], pathSeen: true });
  const picky = await start(t, { minors: [0], folders: ['/srv/data'], meet: meet(4) });
  t.match(await told(lookAt(picky, { version: '4.1' })), /^SHARE_VERSION: .*not 4\.1\./);
});

t.test('a path that is not exported is missing, and what is exported is named', async (t) => {
  const server = await start(t, { ...LINUX, folders: ['/srv/data'], exports: { '/srv/data': {}, '/home': {} } });
  for (const version of ['4.2', '3'] as const) {
    const text = await told(lookAt(server, { path: '/nothing', version }));
    t.match(text, /^SHARE_MISSING: The share host:\/nothing does not exist.*the server exports \/srv\/data, \/home\./);
  }
  const bare = await start(t, { ...LINUX, exports: {} });
  t.match(await told(lookAt(bare)), /^SHARE_MISSING: .*the server exports nothing\./);
});

t.test('of many exports some are named', async (t) => {
  const exports = Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`/export/number-${at}`, {}]));
  const server = await start(t, { ...LINUX, exports });
  t.match(await told(lookAt(server, { version: '3' })), /number-7 and 4992 more\./);
});

t.test('a missing path is told also where the exports are not', async (t) => {
  for (const portmapper of ['gone', 'silent'] as const) {
    const server = await start(t, { ...LINUX, mountd: 'own', portmapper, folders: ['/srv'] });
    const before = now();
    const text = await told(lookAt(server, { stepMs: SHORT_MS }));
    t.match(text, /^SHARE_MISSING: .*no "data" in \/srv\. Check the path after the colon\. Nothing/, portmapper);
    t.ok(now() - before < HANGING_MS);
  }
});

t.test('a file, a name behind a file, and a name that is too long are missing', async (t) => {
  const traits: NfsTraits = {
    ...LINUX,
    exports: { '/srv': {} },
    folders: ['/srv/data'],
    odd: { '/srv/file': 'file', '/srv/long': 63 },
  };
  const server = await start(t, traits);
  t.match(await told(lookAt(server, { path: '/srv/file' })), /^SHARE_MISSING: .*it is no folder/);
  t.match(await told(lookAt(server, { path: '/srv/file/x' })), /^SHARE_MISSING: .*on the way is no folder/);
  t.match(await told(lookAt(server, { path: '/srv/long' })), /^SHARE_MISSING/);
});

t.test('whoever is not allowed to see a path is refused', async (t) => {
  const odd = { '/srv/a': 13, '/srv/b': 1, '/srv/c': 10016 };
  const server = await start(t, { minors: [0], folders: ['/srv'], odd });
  t.match(await told(lookAt(server, { path: '/srv/a' })), /^SHARE_REFUSED: .*permission denied\. /);
  const unreserved = await told(lookAt(server, { path: '/srv/a', noresvport: true }));
  t.match(unreserved, /^SHARE_REFUSED: .*permission denied; .*refuse mounts with noresvport\. /);
  t.match(await told(lookAt(server, { path: '/srv/b/below' })), /^SHARE_REFUSED/);
  t.match(await told(lookAt(server, { path: '/srv/c' })), /^SHARE_REFUSED: .*Kerberos/);
});

t.test('an export for other hosts, which version 4 does not even show, is refused and not missing', async (t) => {
  const exports = { '/srv/data': { hosts: ['10.1.0.0/16', 'app7'], status: 13 }, '/srv': { hosts: ['*'] } };
  const server = await start(t, { ...LINUX, folders: ['/srv'], exports });
  for (const version of ['any', '4.2', '3'] as const) {
    const text = await told(lookAt(server, { path: '/srv/data/sub', ...(version !== 'any' && { version }) }));
    t.match(
      text,
      /^SHARE_REFUSED: .*exports \/srv\/data to 10\.1\.0\.0\/16, app7, and refuses 127\.0\.0\.1\./,
      version,
    );
  }
  const text = await told(lookAt(server, { path: '/srv/typo', version: '4.2' }));
  t.match(text, /^SHARE_MISSING: .*no "typo" in \/srv\./);
});

t.test(
  'an export of version 3 that wants Kerberos is refused; one whose server is in trouble is left to the mount',
  async (t) => {
    const exports = { '/krb': { kerberos: true }, '/sick': { status: 10006 }, '/gone': { status: 2 } };
    const server = await start(t, { three: true, mountd: 'own', exports });
    t.match(await told(lookAt(server, { path: '/krb' })), /^SHARE_REFUSED: .*Kerberos/);
    t.match(await lookAt(server, { path: '/sick' }), { versions: ['3'], pathSeen: false });
    t.match(await told(lookAt(server, { path: '/gone' })), /^SHARE_MISSING/);
  },
);

t.test('a symbolic link, or a status that says nothing, is left to the mount', async (t) => {
  const server = await start(t, { minors: [0], odd: { '/link': 'link', '/odd': 10029, '/odder': 10006 } });
  for (const path of ['/link', '/odd', '/odder']) t.match(await lookAt(server, { path }), { pathSeen: false }, path);
});

t.test('a server that has to look something up itself is asked again; one that never has it is silent', async (t) => {
  const slow = await start(t, { minors: [0], folders: ['/srv/data'], delays: 1 });
  t.match(await lookAt(slow), { pathSeen: true });
  const never = await start(t, { minors: [0], folders: ['/srv/data'], delays: 1_000 });
  t.match(await told(lookAt(never, { stepMs: SHORT_MS })), /^SHARE_SILENT: .*ask later/);
});

t.test('a server that wants other credentials refuses', async (t) => {
  const server = await start(t, { ...LINUX, meet: ({ flavour }) => (flavour === 1 ? { auth: 5 } : undefined) });
  t.match(await told(lookAt(server)), /^SHARE_REFUSED: .*Kerberos/);
  const closed = await start(t, { ...LINUX, meet: () => ({ auth: 1 }) });
  t.match(await told(lookAt(closed)), /^SHARE_REFUSED/);
});

t.test('a server that takes connections and is frozen is silent, wherever it freezes', async (t) => {
  const frozen: Record<string, NfsTraits> = {
    'at once': { ...LINUX, meet: () => 'silence' },
    'at the first compound': { ...LINUX, meet: ({ procedure }) => (procedure === 1 ? 'silence' : undefined) },
    'at its portmapper': { three: true, mountd: 'own', portmapper: 'silent' },
  };
  for (const [when, traits] of Object.entries(frozen)) {
    const server = await start(t, traits);
    const before = now();
    const text = await told(lookAt(server, { stepMs: SHORT_MS }));
    t.match(text, /^SHARE_SILENT: .*takes the connection and does not answer/, when);
    t.ok(now() - before < HANGING_MS, `${when}: in time`);
  }
});

t.test('a port with another service, or none, is named as what cannot be reached', async (t) => {
  const other = await start(t, { meet: () => ({ state: 1 }) });
  t.match(await told(lookAt(other)), /^SHARE_UNREACHABLE: .*no such program/);
  const shut = await start(t, { meet: () => 'hang up' });
  t.match(await told(lookAt(shut)), new RegExp(`^SHARE_UNREACHABLE: .*cuts it off.*TCP port ${shut.nfs.port} through`));
  const gone = await start(t, {});
  await gone.close();
  t.match(await told(lookAt(gone)), new RegExp(`^SHARE_UNREACHABLE: .*nothing listens.*port ${gone.nfs.port} through`));
});

t.test('a server of version 3 without a MOUNT service names the portmapper', async (t) => {
  const none = await start(t, { three: true });
  t.match(await told(lookAt(none)), /^SHARE_UNREACHABLE: .*portmapper knows no MOUNT service/);
  const closed = await start(t, { three: true, portmapper: 'gone' });
  const port = closed.portmapper.port;
  t.match(await told(lookAt(closed)), new RegExp(`^SHARE_UNREACHABLE: .*let TCP port ${port} through`));
});

t.test('a name that does not resolve is told before anything is connected to', async (t) => {
  const server = await start(t, LINUX);
  const text = await told(lookAt(server, { host: 'no such host' }));
  t.match(text, /^SHARE_UNRESOLVED: The name of the server of share host:\/srv\/data does not resolve/);
});

t.test('answers in many fragments, byte by byte, are understood', async (t) => {
  const manners = { fragment: 5, dribble: true };
  const server = await start(t, { ...LINUX, minors: [1], folders: ['/srv/data'], manners });
  t.match(await lookAt(server), { versions: ['4.1'], pathSeen: true });
});

t.test(
  'the look comes from a reserved port, unless the mount will not',
  { skip: process.getuid?.() !== 0 },
  async (t) => {
    const server = await start(t, { three: true, mountd: 'own', exports: { '/srv/data': {} } });
    await lookAt(server);
    t.ok((server.mountd.ports.get('100005.3.1') ?? 0) < 1024);
    await lookAt(server, { noresvport: true });
    t.ok((server.mountd.ports.get('100005.3.1') ?? 0) >= 1024);
  },
);

t.test('whoever stops waiting is not told that the server is silent', async (t) => {
  const server = await start(t, { meet: () => 'silence' });
  const { context: c, cancel } = cancellable(context());
  const share = { id: 'x', server: '127.0.0.1', path: '/', vendor: 'generic', versions: NFS_VERSIONS } as const;
  const work = preflight({ ...share, port: server.nfs.port }, { readonly: false, options: {} }, c);
  setTimeout(() => cancel(new Error('enough')), 20);
  await t.rejects(work, { message: 'enough' });
});

t.test('whatever a server answers shows that it is there', async (t) => {
  const worlds: NfsTraits[] = [LINUX, { three: true }, { meet: () => ({ state: 5 }) }, { meet: () => ({ auth: 1 }) }];
  for (const traits of worlds) {
    const { nfs } = await start(t, traits);
    await t.resolves(ping('127.0.0.1', nfs.port, context()));
  }
});

t.test('a server that does not answer is noticed from outside', async (t) => {
  const gone = await start(t, {});
  await gone.close();
  const { port } = gone.nfs;
  t.match(await told(ping('127.0.0.1', port, context(), 'host:/x')), /^SHARE_UNREACHABLE: .*share host:\/x cannot/);
  const noise = createServer((socket) => socket.on('error', () => socket.destroy()).end('nonsense'));
  await new Promise<void>((resolve) => noise.listen(0, '127.0.0.1', resolve));
  t.teardown(() => noise.close());
  const address = noise.address();
  const other = typeof address === 'object' && address !== null ? address.port : 0;
  t.match(await told(ping('127.0.0.1', other, context())), /^SHARE_UNREACHABLE/);
  const silent = await start(t, { meet: () => 'silence' });
  const ways: Ways = { names: SYSTEM_NAMES, portmapPort: 0, nfsPort: 0, stepMs: SHORT_MS };
  const before = now();
  t.match(await told(ping('127.0.0.1', silent.nfs.port, context(), 'host:/x', ways)), /^SHARE_SILENT/);
  t.ok(now() - before < HANGING_MS);
});
