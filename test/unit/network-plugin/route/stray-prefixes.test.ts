import t from 'tap';
import type { Route } from '../../../../network-plugin/route/provider.ts';
import { strayPrefixes } from '../../../../network-plugin/route/stray-prefixes.ts';

const route = (prefix: string, target: string, more: Partial<Route> = {}): Route => ({
  ...{ prefix, state: 'active', ours: false, nextHop: { host: target, target } },
  ...more,
});

const POOLS = ['10.64.0.0/12'];

t.test('a prefix of another pool is known by its host, which has one in ours', async (t) => {
  const routes = [route('10.64.1.0/24', 'eni-1'), route('10.80.0.0/24', 'eni-1'), route('10.64.2.0/24', 'eni-2')];
  t.same(strayPrefixes(routes, POOLS), ['10.80.0.0/24']);
});

t.test('what leads to a stranger or to a gateway is no pool', async (t) => {
  const gateway = { gateway: true } as const;
  const routes = [
    route('10.64.1.0/24', 'eni-1'),
    route('192.168.0.0/16', 'eni-vpn'),
    route('10.96.0.0/12', 'eni-1', gateway),
    route('10.65.0.0/16', 'vgw-1', gateway),
    route('172.20.0.0/16', 'vgw-1', gateway),
  ];
  t.same(strayPrefixes(routes, POOLS), []);
});

t.test('where the provider keeps the pool, that is known already', async (t) => {
  const routes = [route('10.64.1.0/24', 'i-1'), route('10.80.0.0/24', 'i-1', { pool: '10.80.0.0/12' })];
  t.same(strayPrefixes(routes, POOLS), []);
});
