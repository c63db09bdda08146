import t from 'tap';
import { EtcdKeys, readClaim, routeOf, writeClaim } from '../../../../network-plugin/route/etcd-keys.ts';
import { EtcdView } from '../../../../network-plugin/route/etcd-view.ts';
import type { RouteEvent } from '../../../../network-plugin/route/provider.ts';
import type { KeyValue } from '../../../../shared/etcd/wire.ts';

const keys = new EtcdKeys('/drayage', 'default');
const kv = (prefix: string, revision: number, host = 'a'): KeyValue => ({
  key: keys.route(prefix),
  value: writeClaim(prefix, '10.64.0.0/12', { host, address: '192.0.2.1' }, `id-${host}`),
  createRevision: revision,
  modRevision: revision,
  lease: '7',
});
const at = (revision: number, ...kvs: KeyValue[]) => ({ revision, kvs });
const make = (): { view: EtcdView; told: () => string[] } => {
  const events: string[] = [];
  const name = (event: RouteEvent): string => {
    if (event.kind === 'sync') return `sync ${event.routes.map((route) => route.prefix).join(' ')}`;
    if (event.kind === 'put') return `put ${event.route.prefix} ${event.route.nextHop.host}`;
    return event.kind === 'remove' ? `remove ${event.prefix}` : event.kind;
  };
  const view = new EtcdView(keys, 'id-a', (event) => events.push(name(event)));
  return { view, told: () => events.splice(0) };
};
const X = '10.64.0.0/24';
const Y = '10.64.1.0/24';

t.test('keys: prefixes and names go in and out, and no cluster lies within another', async (t) => {
  t.equal(keys.route(X), '/drayage/default/routes/10.64.0.0%2F24');
  t.equal(keys.prefixOf(keys.route('fd00::/64')), 'fd00::/64');
  t.equal(keys.prefixOf('/drayage/default/hosts/a'), undefined);
  t.equal(keys.prefixOf('/drayage/default/routes/nonsense'), undefined);
  t.equal(new EtcdKeys('/drayage/', 'a/routes').base, '/drayage/a%2Froutes/');
  t.not(keys.host('a/b'), keys.host('a%2Fb'));
});

t.test('a claim is what is written, without addresses that are none', async (t) => {
  const claim = readClaim(X, kv(X, 3));
  t.same(routeOf(claim, 'id-a'), {
    ...{ prefix: X, pool: '10.64.0.0/12', state: 'active', ours: true },
    nextHop: { host: 'a', address: '192.0.2.1' },
  });
  const odd = { ...kv(X, 3), value: JSON.stringify({ host: 'b', nextHop: '192.0.2.1; reboot', nextHop6: 7 }) };
  t.same(routeOf(readClaim(X, odd), 'id-a').nextHop, { host: 'b' });
  t.equal(readClaim(X, { ...kv(X, 3), value: '[' }).host, 'unknown');
});

t.test('a whole reading is told as one, and replaces what was known', async (t) => {
  const { view, told } = make();
  view.reset(at(5, kv(X, 3), kv(Y, 4)));
  view.reset(at(2, kv(Y, 1)));
  t.same(told(), [`sync ${X} ${Y}`, `sync ${Y}`], 'also when etcd was put back to an earlier copy');
  t.equal(view.revision, 2);
});

t.test('the watch is followed; what a reading already said is no news', async (t) => {
  const { view, told } = make();
  view.reset(at(5, kv(X, 5)));
  told();
  view.follow([
    { kind: 'put', kv: kv(X, 5) },
    { kind: 'put', kv: kv(Y, 6, 'b') },
    { kind: 'delete', kv: { ...kv(X, 7), value: '' } },
  ]);
  t.same(told(), [`put ${Y} b`, `remove ${X}`]);
  t.equal(view.revision, 7);
});

t.test('an own claim may come before or after its news', async (t) => {
  const { view, told } = make();
  view.reset(at(5));
  told();
  view.claimed(kv(X, 6));
  view.follow([{ kind: 'put', kv: kv(X, 6) }]);
  t.same(told(), [`put ${X} a`]);
  view.follow([
    { kind: 'put', kv: kv(Y, 7) },
    { kind: 'delete', kv: kv(Y, 8) },
  ]);
  view.put(kv(Y, 7));
  t.same(told(), [`put ${Y} a`, `remove ${Y}`], 'an answer that comes after the deletion changes nothing');
  t.notOk(view.claims.has(Y));
});

t.test('a late reading does not undo later news', async (t) => {
  const { view, told } = make();
  view.reset(at(5));
  view.follow([{ kind: 'put', kv: kv(X, 9) }]);
  told();
  view.merge(at(8));
  t.same(told(), []);
  t.ok(view.claims.has(X));
});

t.test('a reading finds what the watch has missed, and its late news change nothing', async (t) => {
  const { view, told } = make();
  view.reset(at(5, kv(X, 5)));
  told();
  view.merge(at(9, kv(Y, 8, 'b')));
  t.same(told(), [`put ${Y} b`, `remove ${X}`]);
  view.follow([
    { kind: 'put', kv: kv('10.64.2.0/24', 6) },
    { kind: 'delete', kv: kv('10.64.2.0/24', 7) },
    { kind: 'delete', kv: kv(X, 7) },
  ]);
  t.same(told(), [], 'not even for a moment');
  t.equal(view.revision, 9);
});

t.test('an own claim written while a reading was under way is not dropped by it', async (t) => {
  const { view, told } = make();
  view.reset(at(5));
  view.put(kv(X, 9));
  told();
  view.merge(at(8));
  t.same(told(), []);
  t.ok(view.claims.has(X));
});
