import type { Test } from 'tap';
import type { RouteProvider } from '../../network-plugin/route/provider.ts';
import { codeOf, context, type ProviderWorld, routesOf } from './route-provider.ts';

export interface CloudControls {
  /** Another table that subnets use; known to providers that start later. */
  addTable(): string;
  /** Something else than a host that routes can lead to: its id. */
  gateway(): string;
  stop(n: number): void;
  terminate(n: number): void;
  /** Calls so far that change something. */
  writes(): number;
}

/** What is asked beyond that of a provider whose routes are kept by a cloud's router. `make` as above, with `cloud`. */
export const cloudProviderConformance = async (
  t: Test,
  make: (t: Test) => Promise<ProviderWorld & { readonly cloud: CloudControls }>,
): Promise<void> => {
  const prefix = '10.64.3.0/24';
  const request = { prefix, pool: '10.64.0.0/12' };
  const world = async (t: Test, tables = 1) => {
    const { host, cloud } = await make(t);
    for (let n = 1; n < tables; n += 1) cloud.addTable();
    const start = async (n: number): Promise<RouteProvider> => {
      const provider = host(n);
      t.teardown(() => provider.close());
      await provider.start(context());
      return provider;
    };
    const [one, two] = [await start(0), await start(1)];
    const ids = await one.tables(context());
    return { cloud, start, one, two, ids, table: ids[0] ?? 'none' };
  };

  await t.test(
    'several tables are the same, and in the same order, for every host; all of them are read',
    async (t) => {
      const { one, two, ids } = await world(t, 4);
      t.equal(ids.length, 4);
      t.same(await two.tables(context()), ids);
      for (const id of ids) await one.create(id, request, context());
      const read = await two.read(context());
      t.same(
        read.map((table) => table.id),
        ids,
      );
      for (const { routes } of read) t.match(routes, [{ prefix, ours: false }]);
      await Promise.all(ids.map((id) => one.remove(id, { prefix }, context())));
      for (const { routes } of await two.read(context())) t.same(routes, []);
    },
  );

  await t.test('the followers may be written at once', async (t) => {
    const { one, ids } = await world(t, 4);
    await Promise.all(ids.map((id) => one.create(id, request, context())));
    for (const { routes } of await one.read(context())) t.match(routes, [{ prefix, ours: true, state: 'active' }]);
  });

  await t.test('a table says how full it is', async (t) => {
    const { one, table } = await world(t);
    await one.create(table, request, context());
    const [found] = await one.read(context());
    t.equal(found?.used, 1);
    t.ok((found?.limit ?? 0) >= 50);
  });

  await t.test('a route to a gateway is made, made again and removed, and is nobody’s prefix', async (t) => {
    const { cloud, one, two, table } = await world(t);
    const via = cloud.gateway();
    const elsewhere = { prefix: '10.72.0.0/14', pool: request.pool, via };
    await one.create(table, elsewhere, context());
    await two.create(table, elsewhere, context());
    t.match(await routesOf(one), [{ prefix: '10.72.0.0/14', gateway: true, ours: false, nextHop: { target: via } }]);
    await two.remove(table, { prefix: '10.72.0.0/14' }, context());
    t.equal((await routesOf(one)).length, 1, 'it does not lead to a host, so it is not a host’s to remove');
    await two.remove(table, { prefix: '10.72.0.0/14', via }, context());
    t.same(await routesOf(one), []);
  });

  await t.test('a prefix may be cut out of a route to a gateway, and not be that route', async (t) => {
    const { cloud, one, table } = await world(t);
    await one.create(table, { prefix: '10.64.0.0/14', pool: request.pool, via: cloud.gateway() }, context());
    if (one.allowsNarrower) await one.create(table, request, context());
    t.equal(await codeOf(one.create(table, { ...request, prefix: '10.64.0.0/14' }, context())), 'ROUTE_CONFLICT');
    t.equal(await codeOf(one.create(table, { ...request, prefix: '10.64.0.0/13' }, context())), 'ROUTE_CONFLICT');
  });

  await t.test('a route of a host is not led to a gateway, nor one of another gateway', async (t) => {
    const { cloud, one, two, table } = await world(t);
    const [via, other] = [cloud.gateway(), cloud.gateway()];
    await one.create(table, request, context());
    t.equal(await codeOf(two.create(table, { ...request, via }, context())), 'PREFIX_OWNED');
    await two.create(table, { prefix: '10.72.0.0/14', pool: request.pool, via }, context());
    t.equal(
      await codeOf(two.create(table, { prefix: '10.72.0.0/14', pool: request.pool, via: other }, context())),
      'ROUTE_CONFLICT',
    );
  });

  await t.test(
    'blackhole routes do not pile up: a terminated host’s is known as such, and taken over in one step',
    async (t) => {
      const { cloud, one, two, table } = await world(t);
      await one.create(table, request, context());
      const holder = await one.self(context());
      t.equal(await two.fate?.(holder, context()), 'alive');
      cloud.terminate(0);
      t.equal(await two.fate?.(holder, context()), 'gone');
      t.match(await routesOf(two), [{ prefix, state: 'blackhole', ours: false, nextHop: { target: holder.target } }]);
      const refusal = await two.create(table, request, context()).catch((error: unknown) => error);
      t.match(refusal, { code: 'PREFIX_OWNED', message: /blackhole/ }, 'not by a claim');
      await two.replace(table, request, holder, context());
      t.match(await routesOf(two), [{ prefix, state: 'active', ours: true }]);
    },
  );

  await t.test('a stopped host may come back', async (t) => {
    const { cloud, one, two, table } = await world(t);
    await one.create(table, request, context());
    cloud.stop(0);
    t.equal(await two.fate?.(await one.self(context()), context()), 'stopped');
    t.match(await routesOf(two), [{ prefix, ours: false }]);
  });

  await t.test('of hosts that take a route over at once, one has it', async (t) => {
    const { start, one, two, table } = await world(t);
    const third = await start(2);
    await one.create(table, request, context());
    const holder = await one.self(context());
    const takers = [two, third];
    const codes = await Promise.all(takers.map((each) => codeOf(each.replace(table, request, holder, context()))));
    t.same([...codes].sort(), ['ROUTE_CONFLICT', 'none']);
    const winner = takers[codes.indexOf('none')];
    t.match(await routesOf(one), [{ prefix, ours: false, nextHop: await winner?.self(context()) }]);
  });

  await t.test('a single address goes from host to host', async (t) => {
    const { one, two, table } = await world(t);
    const address = { prefix: '10.64.200.7/32', pool: request.pool };
    await one.create(table, address, context());
    t.equal(await codeOf(two.create(table, address, context())), 'PREFIX_OWNED');
    await two.replace(table, address, await one.self(context()), context());
    await one.remove(table, { prefix: address.prefix }, context());
    t.match(await routesOf(one), [{ prefix: address.prefix, ours: false, nextHop: await two.self(context()) }]);
  });

  await t.test('concurrent writes fail nowhere: ten prefixes at once of each of two hosts', async (t) => {
    const { one, two, ids } = await world(t, 2);
    const all = [one, two].flatMap((provider, host) =>
      Array.from({ length: 10 }, (_, n) =>
        Promise.all(
          ids.map((id) =>
            provider.create(id, { prefix: `10.64.${10 * host + n}.0/24`, pool: request.pool }, context(60_000)),
          ),
        ),
      ),
    );
    await Promise.all(all);
    for (const { routes } of await one.read(context())) t.equal(routes.length, 20);
  });

  await t.test('looking on changes nothing', async (t) => {
    const { cloud, one, two, table } = await world(t);
    await one.prepareHost?.(true, context());
    await one.create(table, request, context());
    const before = cloud.writes();
    await one.read(context());
    await one.create(table, request, context());
    await one.prepareHost?.(true, context());
    await two.remove(table, { prefix }, context());
    t.equal(cloud.writes(), before);
  });

  await t.test('findings are sentences with a remedy where something is to be done', async (t) => {
    const { one } = await world(t);
    const before = (await one.findings?.(context())) ?? [];
    t.ok(before.length > 3);
    for (const { check, state, found, remedy } of before) {
      t.ok(
        found.length > 10 && (state === 'good' || (remedy ?? '').length > 10),
        `${check}: ${state}: ${found} ${remedy}`,
      );
    }
    await one.prepareHost?.(true, context());
    const after = (await one.findings?.(context())) ?? [];
    t.same(
      after.filter(({ state }) => state !== 'good'),
      [],
    );
  });
};
