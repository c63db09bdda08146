import type { Test } from 'tap';
import type { Route, RouteProvider } from '../../network-plugin/route/provider.ts';
import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import { type Context, newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { silentLogger } from '../../shared/log.ts';

/** How the suite gets at an implementation. Every host has a place of its own; all of them see the same routes. */
export interface ProviderWorld {
  /** A provider of host `n`, not started. Called again for the same `n`, it is that host after a restart. */
  host(n: number): RouteProvider;
}

export const context = (ms = 10_000): Context => newContext(silentLogger, ms);

/** The code of the error that a promise rejects with; `none` when it does not. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PluginError ? error.code : String(error)),
  );

/** The routes of the arbiter's table. */
export const routesOf = async (provider: RouteProvider): Promise<readonly Route[]> =>
  (await provider.read(context()))[0]?.routes ?? [];

const prefixes = (routes: readonly Route[]): string[] => routes.map((route) => route.prefix).sort();

/**
 * What every route provider must do. `make` answers a world without routes, gone when the test ends; `single`: there
 * can only be one host in it; `hosts`: how many there are at most, 20 by default.
 */
export const routeProviderConformance = async (
  t: Test,
  options: { readonly single: boolean; readonly hosts?: number },
  make: (t: Test) => Promise<ProviderWorld>,
): Promise<void> => {
  const world = async (
    t: Test,
    hosts = 1,
  ): Promise<{ providers: RouteProvider[]; table: string; again: ProviderWorld }> => {
    const again = await make(t);
    const providers = Array.from({ length: hosts }, (_, n) => again.host(n));
    for (const provider of providers) {
      t.teardown(() => provider.close());
      await provider.start(context());
    }
    const [first] = providers;
    if (first === undefined) throw new Error('a world without hosts');
    const [table] = await first.tables(context());
    return { providers, table: table ?? 'none', again };
  };
  const only = async (t: Test): Promise<{ provider: RouteProvider; table: string; again: ProviderWorld }> => {
    const { providers, table, again } = await world(t);
    const [provider] = providers;
    if (provider === undefined) throw new Error('a world without hosts');
    return { provider, table, again };
  };
  const request = (prefix: string) => ({ prefix, pool: '10.64.0.0/12' });

  await t.test('a claim is listed as ours, active, and leads to this host', async (t) => {
    const { provider, table } = await only(t);
    await provider.create(table, request('10.64.3.0/24'), context());
    const routes = await routesOf(provider);
    const self = await provider.self(context());
    t.match(routes, [{ prefix: '10.64.3.0/24', ours: true, state: 'active', nextHop: self }]);
  });

  await t.test('a claim that this host holds can be made again', async (t) => {
    const { provider, table } = await only(t);
    await provider.create(table, request('10.64.3.0/24'), context());
    await provider.create(table, request('10.64.3.0/24'), context());
    t.same(prefixes(await routesOf(provider)), ['10.64.3.0/24']);
  });

  await t.test('a claim that overlaps one of this host is refused', async (t) => {
    const { provider, table } = await only(t);
    await provider.create(table, request('10.64.3.0/24'), context());
    t.equal(await codeOf(provider.create(table, request('10.64.3.128/25'), context())), 'PREFIX_OVERLAP');
    t.equal(await codeOf(provider.create(table, request('10.64.0.0/16'), context())), 'PREFIX_OVERLAP');
    await provider.create(table, request('10.64.4.0/24'), context());
    t.same(prefixes(await routesOf(provider)), ['10.64.3.0/24', '10.64.4.0/24']);
  });

  await t.test('of overlapping claims at once exactly one is granted', async (t) => {
    const { provider, table } = await only(t);
    const asked = ['10.64.0.0/16', '10.64.3.0/24', '10.64.3.0/25', '10.64.3.64/26'];
    const codes = await Promise.all(asked.map((one) => codeOf(provider.create(table, request(one), context()))));
    t.equal(codes.filter((code) => code === 'none').length, 1, codes.join(' '));
    t.equal((await routesOf(provider)).length, 1);
  });

  await t.test('a removed claim is free again, and removing it twice succeeds', async (t) => {
    const { provider, table } = await only(t);
    await provider.create(table, request('10.64.3.0/24'), context());
    await provider.remove(table, { prefix: '10.64.3.0/24' }, context());
    await provider.remove(table, { prefix: '10.64.3.0/24' }, context());
    t.same(await routesOf(provider), []);
    await provider.create(table, request('10.64.0.0/16'), context());
  });

  await t.test('claims survive the restart of the plugin', async (t) => {
    const { provider, table, again } = await only(t);
    await provider.create(table, request('10.64.3.0/24'), context());
    await provider.close();
    const restarted = again.host(0);
    t.teardown(() => restarted.close());
    await restarted.start(context());
    t.match(await routesOf(restarted), [{ prefix: '10.64.3.0/24', ours: true }]);
    await restarted.create(table, request('10.64.3.0/24'), context());
    await restarted.remove(table, { prefix: '10.64.3.0/24' }, context());
  });

  await t.test('IPv6 prefixes are claimed and refused alike', async (t) => {
    const { provider, table } = await only(t);
    const pool = 'fd64:6472:7961::/48';
    await provider.create(table, { prefix: 'fd64:6472:7961:3::/64', pool }, context());
    t.equal(
      await codeOf(provider.create(table, { prefix: 'fd64:6472:7961:3:8000::/65', pool }, context())),
      'PREFIX_OVERLAP',
    );
    await provider.remove(table, { prefix: 'fd64:6472:7961:3::/64' }, context());
    t.same(await routesOf(provider), []);
  });

  await t.test('a route is only replaced where it leads as expected', async (t) => {
    const { provider, table } = await only(t);
    const self = await provider.self(context());
    t.equal(await codeOf(provider.replace(table, request('10.64.3.0/24'), self, context())), 'ROUTE_CONFLICT');
    await provider.create(table, request('10.64.3.0/24'), context());
    await provider.replace(table, request('10.64.3.0/24'), self, context());
    const stranger = { host: 'nobody' };
    t.equal(await codeOf(provider.replace(table, request('10.64.3.0/24'), stranger, context())), 'ROUTE_CONFLICT');
    t.match(await routesOf(provider), [{ prefix: '10.64.3.0/24', ours: true }]);
  });

  await t.test('nothing that is local may be claimed by the engine: it is given as CIDRs', async (t) => {
    const { provider } = await only(t);
    for (const one of provider.local()) t.equal(parseCidr(one).text, one);
    t.ok(provider.name);
  });

  if (options.single) return;

  await t.test(
    'a prefix of another host is refused with its name, whatever the overlap, and not removed',
    async (t) => {
      const { providers, table } = await world(t, 2);
      const [one, two] = providers;
      if (one === undefined || two === undefined) return;
      await one.create(table, request('10.64.3.0/24'), context());
      const owner = (await one.self(context())).host;
      for (const prefix of ['10.64.3.0/24', '10.64.3.0/28', '10.64.0.0/14']) {
        const refusal = await two.create(table, request(prefix), context()).catch((error: unknown) => error);
        t.match(refusal, { code: 'PREFIX_OWNED', context: { owner } }, prefix);
      }
      await two.remove(table, { prefix: '10.64.3.0/24' }, context());
      t.match(await routesOf(two), [{ prefix: '10.64.3.0/24', ours: false, nextHop: { host: owner } }]);
    },
  );

  await t.test('a route is taken over only by who names its holder', async (t) => {
    const { providers, table } = await world(t, 2);
    const [one, two] = providers;
    if (one === undefined || two === undefined) return;
    await one.create(table, request('10.64.3.0/24'), context());
    const [holder, taker] = [await one.self(context()), await two.self(context())];
    t.equal(await codeOf(two.replace(table, request('10.64.3.0/24'), taker, context())), 'ROUTE_CONFLICT');
    await two.replace(table, request('10.64.3.0/24'), holder, context());
    t.match(await routesOf(one), [{ prefix: '10.64.3.0/24', ours: false, nextHop: taker }]);
    await one.remove(table, { prefix: '10.64.3.0/24' }, context());
    t.equal((await routesOf(one)).length, 1);
  });

  const { hosts: most = 20 } = options;
  const number = most === 20 ? 'twenty' : String(most);
  await t.test(
    `${number} hosts that all try the same prefixes at once get ${number} that do not overlap`,
    async (t) => {
      const { providers, table } = await world(t, most);
      const pool = parseCidr('10.64.0.0/19');
      const got = await Promise.all(
        providers.map(async (provider) => {
          // Each begins with the first and goes on until one is granted: the worst case.
          for (let n = 0; n < 32; n += 1) {
            const prefix = `10.64.${n}.0/24`;
            const code = await codeOf(provider.create(table, { prefix, pool: pool.text }, context(30_000)));
            if (code === 'none') return prefix;
            if (code !== 'PREFIX_OWNED') throw new Error(code);
          }
          throw new Error('all were taken');
        }),
      );
      t.equal(new Set(got).size, providers.length, got.join(' '));
      const cidrs = got.map((one) => parseCidr(one));
      t.ok(cidrs.every((one) => contains(pool, one) && cidrs.every((other) => other === one || !overlaps(other, one))));
    },
  );

  await t.test('what cannot be told of a host is not made up', async (t) => {
    const { providers } = await world(t, 2);
    const [one, two] = providers;
    if (one === undefined || two === undefined) throw new Error('a world without hosts');
    if (two.fate === undefined) {
      t.ok(two.watch, 'who cannot tell is told when routes vanish with their hosts');
      return;
    }
    t.equal(await two.fate(await one.self(context()), context()), 'alive');
    t.equal(await two.fate({ host: 'nobody' }, context()), 'unknown');
  });
};
