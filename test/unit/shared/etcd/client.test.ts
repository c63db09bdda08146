import { createServer } from 'node:net';
import t from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { EtcdClient, type WatchEvent } from '../../../../shared/etcd/client.ts';
import { EtcdError, prefixEnd } from '../../../../shared/etcd/wire.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { startEtcd } from '../../../conformance/etcd-server.ts';
import { startRelay } from '../../network-plugin/route/tcp-relay.ts';

t.setTimeout(60_000);

const context = (ms = 5000): Context => newContext(silentLogger, ms);
const until = async (what: string, done: () => boolean, ms = 5000): Promise<void> => {
  const end = Date.now() + ms;
  while (!done()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};
const kindOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof EtcdError ? error.kind : String(error)),
  );

t.test('the end of a prefix is its last byte plus one, and carries over 0xff', async (t) => {
  t.equal(Buffer.from(prefixEnd('/a/'), 'base64').toString(), '/a0');
  t.equal(prefixEnd(''), 'AA==');
});

t.test('against a real etcd', async (t) => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  const client = new EtcdClient({ endpoints: [server.endpoint], attemptMs: 1000 });
  t.teardown(() => client.close());

  t.test('a prefix range answers its keys only, with the revision', async (t) => {
    await client.put('/r/a', 'one', context());
    await client.put('/r/b', 'zwölf', context());
    await client.put('/ra', 'not below', context());
    const range = await client.rangePrefix('/r/', context());
    t.same(
      range.kvs.map((kv) => [kv.key, kv.value]),
      [
        ['/r/a', 'one'],
        ['/r/b', 'zwölf'],
      ],
    );
    t.ok(range.revision >= (range.kvs[1]?.modRevision ?? 0));
    t.equal(await client.get('/r/none', context()), undefined);
  });

  t.test('a transaction fails when any key of the prefix changed since, and answers what is there', async (t) => {
    const { revision } = await client.rangePrefix('/t/', context());
    const compare = [{ prefix: '/t/', unchangedSince: revision }];
    const first = await client.txn(compare, [{ put: '/t/1', value: 'x' }], [{ rangePrefix: '/t/' }], context());
    const second = await client.txn(compare, [{ put: '/t/2', value: 'y' }], [{ rangePrefix: '/t/' }], context());
    t.equal(first.succeeded, true);
    t.equal(second.succeeded, false);
    t.same(
      second.ranges[0]?.kvs.map((kv) => kv.key),
      ['/t/1'],
    );
  });

  t.test('a lease takes its keys with it, and is then gone', async (t) => {
    const { lease } = await client.grant(2, context());
    await client.put('/l/1', 'x', context(), lease);
    t.equal((await client.get('/l/1', context()))?.lease, lease);
    t.ok((await client.keepAlive(lease, context())) >= 1);
    await client.revoke(lease, context());
    await client.revoke(lease, context());
    t.equal(await client.get('/l/1', context()), undefined);
    t.equal(await client.keepAlive(lease, context()), 0);
    t.equal(await kindOf(client.put('/l/2', 'x', context(), lease)), 'lease-gone');
  });

  t.test('a watch tells puts and deletions from a revision on', async (t) => {
    const { revision } = await client.rangePrefix('/w/', context());
    await client.put('/w/before', '1', context());
    const seen: WatchEvent[] = [];
    const handlers = { onEvents: (events: readonly WatchEvent[]) => void seen.push(...events), onEnd: () => undefined };
    const stop = await client.watchPrefix('/w/', revision + 1, handlers, context());
    t.teardown(stop);
    await client.put('/w/after', '2', context());
    await client.put('/elsewhere', '2', context());
    await client.txn([], [{ delete: '/w/before' }], [], context());
    await until('three events', () => seen.length >= 3);
    t.same(
      seen.map((event) => [event.kind, event.kv.key]),
      [
        ['put', '/w/before'],
        ['put', '/w/after'],
        ['delete', '/w/before'],
      ],
    );
  });

  t.test('a watch from a compacted revision ends and says so', async (t) => {
    await client.put('/c/1', '1', context());
    await client.put('/c/1', '2', context());
    const { revision } = await client.rangePrefix('/c/', context());
    await server.ctl('compact', String(revision));
    const ended: EtcdError[] = [];
    const handlers = { onEvents: () => undefined, onEnd: (error: EtcdError) => void ended.push(error) };
    await client.watchPrefix('/c/', 1, handlers, context());
    await until('the end', () => ended.length > 0);
    t.equal(ended[0]?.kind, 'compacted');
  });

  t.test('a frozen server gives an error at the deadline, not later', async (t) => {
    server.freeze();
    t.teardown(() => server.thaw());
    const started = Date.now();
    t.equal(await kindOf(client.get('/x', context(300))), 'unreachable');
    t.ok(Date.now() - started < 900, `took ${Date.now() - started} ms`);
  });

  t.test('a killed server ends the watch and refuses calls; afterwards all is as before', async (t) => {
    const ended: EtcdError[] = [];
    const handlers = { onEvents: () => undefined, onEnd: (error: EtcdError) => void ended.push(error) };
    const { revision } = await client.rangePrefix('/r/', context());
    await client.watchPrefix('/r/', revision + 1, handlers, context());
    await server.kill();
    await until('the end', () => ended.length > 0);
    t.equal(ended[0]?.kind, 'unreachable');
    t.equal(await kindOf(client.get('/r/a', context())), 'unreachable');
    await server.start();
    t.equal((await client.get('/r/a', context()))?.value, 'one');
  });

  t.test('kept connections that lead nowhere cost half an attempt, and are not used again', async (t) => {
    const way = await startRelay(server.endpoint);
    t.teardown(() => way.close());
    const through = new EtcdClient({ endpoints: [way.endpoint], attemptMs: 600 });
    t.teardown(() => through.close());
    const ask = () => through.get('/r/a', context());
    await Promise.all([ask(), ask(), ask()]);
    way.forget();
    const begun = Date.now();
    t.equal((await ask())?.value, 'one');
    const took = Date.now() - begun;
    t.ok(took >= 250 && took < 550, `answered after ${took} ms`);
    const again = Date.now();
    t.equal((await ask())?.value, 'one');
    t.ok(Date.now() - again < 200, `the next one after ${Date.now() - again} ms`);
  });

  t.test('several requests on kept connections that lead nowhere are all answered', async (t) => {
    const way = await startRelay(server.endpoint);
    t.teardown(() => way.close());
    const through = new EtcdClient({ endpoints: [way.endpoint], attemptMs: 600 });
    t.teardown(() => through.close());
    const three = () => Promise.all([1, 2, 3].map(() => through.get('/r/a', context())));
    await three();
    way.forget();
    t.same(
      (await three()).map((kv) => kv?.value),
      ['one', 'one', 'one'],
    );
  });

  t.test('a watch of the same age as a dead connection ends, so that it is begun again', async (t) => {
    const way = await startRelay(server.endpoint);
    t.teardown(() => way.close());
    const through = new EtcdClient({ endpoints: [way.endpoint], attemptMs: 600 });
    t.teardown(() => through.close());
    const { revision } = await through.rangePrefix('/r/', context());
    const ended: EtcdError[] = [];
    const handlers = { onEvents: () => undefined, onEnd: (error: EtcdError) => void ended.push(error) };
    await through.watchPrefix('/r/', revision + 1, handlers, context());
    await through.get('/r/a', context());
    t.equal(ended.length, 0);
    way.forget();
    await through.get('/r/a', context());
    t.match(ended, [{ kind: 'unreachable', message: /of the same age/ }]);
  });

  t.test('a connection that nobody used for a while is not used again', async (t) => {
    let connections = 0;
    const counter = createServer((socket) => {
      connections += 1;
      const answer = '{}';
      socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`));
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => counter.listen(0, '127.0.0.1', resolve));
    const address = counter.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const idle = new EtcdClient({ endpoints: [`http://127.0.0.1:${port}`], attemptMs: 300, idleMs: 300 });
    t.teardown(() => {
      idle.close();
      counter.close();
    });
    await idle.get('/x', context());
    await idle.get('/x', context());
    t.equal(connections, 1, 'kept');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await idle.get('/x', context());
    t.equal(connections, 2, 'and given up');
  });

  t.test('a dead endpoint is passed over, and the answer names all that failed when none is left', async (t) => {
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(0, '127.0.0.1', resolve));
    const address = dead.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await new Promise((resolve) => dead.close(resolve));
    const failover = new EtcdClient({ endpoints: [`http://127.0.0.1:${port}`, server.endpoint], attemptMs: 500 });
    t.teardown(() => failover.close());
    t.equal((await failover.get('/r/a', context()))?.value, 'one');
    t.equal(failover.endpoint, server.endpoint);
    const lost = new EtcdClient({
      endpoints: [`http://127.0.0.1:${port}`, `http://localhost:${port}`],
      attemptMs: 500,
    });
    t.teardown(() => lost.close());
    await t.rejects(lost.get('/r/a', context()), {
      kind: 'unreachable',
      message: /127\.0\.0\.1.*localhost.*ECONNREFUSED|ECONNREFUSED.*localhost/,
    });
  });
});
