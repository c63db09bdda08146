import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { EtcdClient } from '../../../../shared/etcd/client.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { type EtcdFiles, startEtcd } from '../../../conformance/etcd-server.ts';

t.setTimeout(60_000);

const run = promisify(execFile);
const context = (ms = 5000): Context => newContext(silentLogger, ms);

/** An authority and one certificate of it, good for a server on loopback and for a client. */
async function certificates(folder: string): Promise<EtcdFiles> {
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]) => run('openssl', args, { timeout: 20_000 });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...curve,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=test',
  );
  await openssl('req', ...curve, '-keyout', at('key.pem'), '-out', at('csr.pem'), '-subj', '/CN=node');
  await writeFile(at('extensions'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  const authority = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at('extensions')];
  await openssl('x509', '-req', '-in', at('csr.pem'), ...authority, '-out', at('cert.pem'), '-days', '2');
  return { ca: at('ca.pem'), cert: at('cert.pem'), key: at('key.pem') };
}

t.test('users and passwords', async (t) => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  await server.ctl('user', 'add', 'root:r00t');
  await server.ctl('user', 'grant-role', 'root', 'root');
  await server.ctl('user', 'add', 'drayage:pa55');
  await server.ctl('role', 'add', 'routes');
  await server.ctl('role', 'grant-permission', 'routes', 'readwrite', '/drayage/', '--prefix=true');
  await server.ctl('user', 'grant-role', 'drayage', 'routes');
  await server.ctl('auth', 'enable');
  const client = new EtcdClient({ endpoints: [server.endpoint], username: 'drayage', password: 'pa55' });
  t.teardown(() => client.close());

  t.test('a right password opens the keys of the role, with leases, and no others', async (t) => {
    const { lease } = await client.grant(5, context());
    await client.put('/drayage/x', '1', context(), lease);
    t.equal((await client.rangePrefix('/drayage/', context())).kvs.length, 1);
    await t.rejects(client.put('/other/x', '1', context()), { kind: 'auth', message: /permission denied/ });
  });

  t.test('a watch works with the token', async (t) => {
    const seen = new Promise<string>((resolve, reject) => {
      client
        .watchPrefix(
          '/drayage/w',
          0,
          { onEvents: (events) => resolve(events[0]?.kv.value ?? ''), onEnd: reject },
          context(),
        )
        .then(t.teardown, reject);
    });
    // Without a start revision only changes after the watch began are told, so repeat until one is.
    const timer = setInterval(() => void client.put('/drayage/w', 'seen', context()).catch(() => undefined), 50);
    t.equal(await seen, 'seen');
    clearInterval(timer);
  });

  t.test('a token that the server has forgotten is replaced without the caller noticing', async (t) => {
    await server.kill();
    await server.start();
    t.equal((await client.get('/drayage/w', context()))?.value, 'seen');
  });

  t.test('a wrong password and a missing one are refused as such, and the password is not in the text', async (t) => {
    const wrong = new EtcdClient({ endpoints: [server.endpoint], username: 'drayage', password: 'wrong-one' });
    const none = new EtcdClient({ endpoints: [server.endpoint] });
    t.teardown(() => wrong.close());
    t.teardown(() => none.close());
    const error = await wrong.get('/drayage/x', context()).catch((thrown: unknown) => thrown);
    t.match(error, { kind: 'auth' });
    t.notMatch(String(error), /wrong-one/);
    await t.rejects(none.get('/drayage/x', context()), { kind: 'auth', message: /user name is empty/ });
  });
});

t.test('TLS with client certificates', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `drt${process.pid}-tls-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const files = await certificates(folder);
  const server = await startEtcd({ tls: files });
  t.teardown(() => server.stop());
  const make = (options: Partial<EtcdFiles>): EtcdClient => {
    const client = new EtcdClient({ endpoints: [server.endpoint], attemptMs: 2000, ...options });
    t.teardown(() => client.close());
    return client;
  };

  t.test('authority, certificate and key together are let in, for calls and watches', async (t) => {
    const client = make(files);
    await client.put('/x', '1', context());
    t.equal((await client.get('/x', context()))?.value, '1');
    const value = await new Promise<string>((resolve, reject) => {
      client
        .watchPrefix('/x', 1, { onEvents: (events) => resolve(events[0]?.kv.value ?? ''), onEnd: reject }, context())
        .then(t.teardown, reject);
    });
    t.equal(value, '1');
  });

  t.test('without the authority the server is not trusted', async (t) => {
    await t.rejects(make({ cert: files.cert, key: files.key }).get('/x', context()), {
      kind: 'unreachable',
      message: /certificate/,
    });
  });

  t.test('without a certificate the server does not trust us', async (t) => {
    await t.rejects(make({ ca: files.ca }).get('/x', context()), { kind: 'unreachable', message: /127\.0\.0\.1/ });
  });

  t.test('a file that is not there is named', async (t) => {
    await t.rejects(make({ ...files, ca: join(folder, 'none.pem') }).get('/x', context()), {
      kind: 'auth',
      message: /none\.pem cannot be read/,
    });
  });
});
