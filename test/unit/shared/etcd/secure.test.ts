import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { EtcdClient } from '../../../../shared/etcd/client.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { startEtcd } from '../../../conformance/etcd-server.ts';
import { makeCertificates } from '../../../rig/certificates.ts';

t.setTimeout(60_000);

const context = (ms = 5000): Context => newContext(silentLogger, ms);

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
  const tls = await makeCertificates(folder, ['127.0.0.1']);
  const files = { ca: tls.ca, cert: tls.clientCert, key: tls.clientKey };
  const server = await startEtcd({ tls });
  t.teardown(() => server.stop());
  const make = (options: Partial<typeof files>): EtcdClient => {
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
