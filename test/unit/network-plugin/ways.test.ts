import t from 'tap';
import type { EndpointRecord, NetworkRecord } from '../../../network-plugin/state.ts';
import { type Sibling, waysOf } from '../../../network-plugin/ways.ts';
import { contains, overlaps, parseAddress, parseCidr } from '../../../shared/cidr.ts';

const network = (id: string, pools: string[], prefixes: string[]): NetworkRecord => ({
  ...{ id, pools, prefixes, claims: [], phase: 'ready', masquerade: 'auto', ingress: 'vpc' },
  ...{ allow: [], internal: false, since: 0 },
});

const networks = new Map(
  [
    network('web', ['10.64.0.0/12', 'fd64::/48'], ['10.64.3.0/24', 'fd64:0:0:3::/64']),
    network('more', ['10.64.0.0/12'], ['10.64.9.0/24']),
    network('db', ['10.80.0.0/12'], ['10.80.0.0/25']),
    network('part', ['10.80.64.0/18'], ['10.80.64.0/24']),
    network('plain', ['172.18.0.0/16'], ['172.18.0.0/16']),
  ].map((one) => [one.id, one]),
);

const on = (name: string, slot: number, more: Partial<EndpointRecord> = {}): EndpointRecord => ({
  ...{ id: name, network: name, slot, phase: 'joined', mac: '', link: '', since: 0, ports: [] },
  address: '10.64.3.2',
  ...more,
});

const beside = (name: string, slot: number, more: Partial<EndpointRecord> = {}, settled = true): Sibling => ({
  endpoint: on(name, slot, more),
  settled,
});

t.test('where all networks are of one pool, no routes but the default one are needed', async (t) => {
  const one = new Map([...networks].filter(([, { pools }]) => pools.includes('10.64.0.0/12')));
  t.same(waysOf(on('web', 0), [], one), []);
  t.same(waysOf(on('more', 1), [beside('web', 0)], one), []);
});

t.test('otherwise the first network brings the way into its pool, as others may follow', async (t) => {
  t.match(waysOf(on('web', 0), [], networks), [{ pool: '10.64.0.0/12', slot: 0 }]);
  const others = [beside('web', 0, { told: ['10.64.0.0/12'] }, false)];
  t.match(waysOf(on('db', 1), others, networks), [{ pool: '10.80.0.0/12', slot: 1 }]);
});

t.test('with a second pool both are led to their own networks, less what this host’s networks have', async (t) => {
  const ways = waysOf(on('db', 1), [beside('web', 0)], networks);
  t.match(ways, [
    { pool: '10.64.0.0/12', slot: 0 },
    { pool: '10.80.0.0/12', slot: 1 },
  ]);
  const leads = (address: string): number | undefined =>
    ways.find(({ destinations }) => destinations.some((one) => contains(parseCidr(one), parseAddress(address))))?.slot;
  t.equal(leads('10.64.4.1'), 0);
  t.equal(leads('10.79.255.1'), 0);
  t.equal(leads('10.80.0.200'), 1);
  t.equal(leads('10.96.0.1'), undefined);
  const all = ways.flatMap(({ destinations }) => destinations.map((one) => parseCidr(one)));
  for (const prefix of [...networks.values()].flatMap(({ prefixes }) => prefixes)) {
    t.notOk(
      all.some((one) => overlaps(one, parseCidr(prefix))),
      `a network with ${prefix} can be connected`,
    );
  }
});

t.test('what an earlier endpoint has told the sandbox is not told again', async (t) => {
  const others = [beside('web', 0), beside('db', 1, { told: ['10.64.0.0/12', '10.80.0.0/12'] })];
  t.same(waysOf(on('more', 2), others, networks), []);
  t.same(waysOf(on('plain', 2), others, networks), [], 'nor one that has nothing beyond this host');
});

t.test('nothing leads through an endpoint that is not in the sandbox yet', async (t) => {
  const ways = waysOf(on('db', 2), [beside('web', 0, {}, false), beside('more', 1, {}, false)], networks);
  t.match(ways, [{ pool: '10.80.0.0/12', slot: 2 }]);
  const own = waysOf(
    on('more', 2),
    [beside('web', 0, {}, false), beside('db', 1, { told: ['10.80.0.0/12'] })],
    networks,
  );
  t.match(own, [{ pool: '10.64.0.0/12', slot: 2 }]);
});

t.test('a pool within a pool has its own way', async (t) => {
  const [wide, narrow] = waysOf(on('part', 1), [beside('db', 0)], networks);
  t.match([wide?.slot, narrow?.slot], [0, 1]);
  const destinations = [wide, narrow].flatMap((way) => way?.destinations ?? []).map((one) => parseCidr(one));
  for (const one of destinations) t.equal(destinations.filter((other) => overlaps(one, other)).length, 1, one.text);
});

t.test('a family that the endpoints have no two pools of is left alone', async (t) => {
  const six = { address6: 'fd64:0:0:3::2' };
  t.notOk(waysOf(on('db', 1), [beside('web', 0, six)], networks).some(({ pool }) => pool.includes(':')));
});
