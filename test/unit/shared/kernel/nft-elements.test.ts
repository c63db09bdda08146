import t from 'tap';
import type { ElementChange } from '../../../../shared/kernel/nft-elements.ts';
import { type Nftables, openNftables } from '../../../../shared/kernel/nftables.ts';
import { makeNamespace } from './namespaces.ts';

const TABLE = 'inet here';
const SETS = {
  ports: 'inet_proto . inet_service : ipv4_addr . inet_service',
  ports6: 'ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service',
  pairs: 'ipv4_addr . ipv4_addr',
  ways: 'ipv4_addr : verdict',
} as const;

const opened = (t: Parameters<typeof makeNamespace>[0]): Nftables => {
  const nft = openNftables(makeNamespace(t).fd);
  t.teardown(() => nft.close());
  const sets = Object.entries(SETS).map(
    ([name, type]) => `add ${type.includes(':') ? 'map' : 'set'} ${TABLE} ${name} { type ${type}; }`,
  );
  nft.run([`add table ${TABLE}`, `add chain ${TABLE} one`, ...sets].join('\n'), 'to begin');
  return nft;
};

const change = (op: ElementChange['op'], set: keyof typeof SETS, ...elements: ElementChange['elements']) => ({
  op,
  table: TABLE,
  set,
  type: SETS[set],
  elements,
});

const list = (nft: Nftables, set: string): string =>
  nft.run(`list ${set === 'pairs' ? 'set' : 'map'} ${TABLE} ${set}`, 'to list').replace(/\s+/g, ' ');

t.test('elements of every kind are what nft reads', (t) => {
  const nft = opened(t);
  const all = [
    change(
      'create',
      'ports',
      { key: '6 . 8080', value: '10.64.0.2 . 80' },
      { key: '132 . 65535', value: '1.2.3.4 . 1' },
    ),
    change('create', 'ports6', { key: 'fd64::1 . 17 . 53', value: '2001:db8::2 . 5353' }),
    change('create', 'pairs', { key: '10.64.0.2 . 10.64.0.3' }),
    change('create', 'ways', { key: '10.64.0.2', value: 'goto one' }, { key: '10.64.0.3', value: 'jump one' }),
  ];
  nft.changeElements(all, 'to add');
  t.match(list(nft, 'ports'), '6 . 8080 : 10.64.0.2 . 80');
  t.match(list(nft, 'ports'), '132 . 65535 : 1.2.3.4 . 1');
  t.match(list(nft, 'ports6'), 'fd64::1 . 17 . 53 : 2001:db8::2 . 5353');
  t.match(list(nft, 'pairs'), '{ 10.64.0.2 . 10.64.0.3 }');
  t.match(list(nft, 'ways'), '10.64.0.2 : goto one, 10.64.0.3 : jump one');
  nft.changeElements(
    all.map((one) => ({ ...one, op: 'delete' as const })),
    'to take out',
  );
  for (const set of Object.keys(SETS)) t.notMatch(list(nft, set), 'elements', set);
  t.end();
});

t.test('one transaction can lead an element elsewhere', (t) => {
  const nft = opened(t);
  nft.changeElements([change('create', 'ports', { key: '6 . 80', value: '10.64.0.2 . 80' })], 'to add');
  const to = { key: '6 . 80', value: '10.64.0.3 . 80' };
  nft.changeElements([change('delete', 'ports', to), change('create', 'ports', to)], 'to move');
  t.match(list(nft, 'ports'), '{ 6 . 80 : 10.64.0.3 . 80 }');
  t.end();
});

t.test('all or nothing, with the reason of the kernel', (t) => {
  const nft = opened(t);
  const there = { key: '6 . 80', value: '10.64.0.2 . 80' };
  nft.changeElements([change('create', 'ports', there)], 'to add');
  const fresh = change('create', 'pairs', { key: '10.64.0.2 . 10.64.0.3' });
  for (const [bad, reason] of [
    [change('create', 'ports', there), /refused to add port 80: .*exist/],
    [change('delete', 'ports', { key: '6 . 81' }), /no such file/i],
    [change('create', 'ways', { key: '10.64.0.2', value: 'goto nowhere' }), /no such file/i],
    [{ ...fresh, set: 'none' }, /no such file/i],
    [{ ...fresh, table: 'inet none' }, /no such file/i],
  ] as const) {
    t.throws(() => nft.changeElements([fresh, bad], 'to add port 80'), { code: 'FIREWALL', message: reason });
    t.notMatch(list(nft, 'pairs'), 'elements');
  }
  nft.changeElements([fresh], 'to add');
  nft.changeElements([], 'to do nothing');
  t.match(list(nft, 'pairs'), 'elements', 'the socket is in order after each refusal');
  t.end();
});

t.test('what is not of the set’s type never gets to the kernel', (t) => {
  const nft = opened(t);
  const before = nft.foreignChanges();
  for (const [set, key, value] of [
    ['ports', '6', '10.64.0.2 . 80'],
    ['ports', '6 . 65536', '10.64.0.2 . 80'],
    ['ports', '6 . -1', '10.64.0.2 . 80'],
    ['ports', '256 . 80', '10.64.0.2 . 80'],
    ['ports', '6 . 80', 'fd64::1 . 80'],
    ['ports', '6 . 80', '10.64.0.2 . '],
    ['pairs', '10.64.0.2 . 10.64.0.0/24', undefined],
    ['ways', '10.64.0.2', 'accept'],
    ['ways', '10.64.0.2', 'goto '],
  ] as const) {
    const element = value === undefined ? { key } : { key, value };
    t.throws(() => nft.changeElements([change('create', set, element)], 'to add'), { code: 'FIREWALL' }, key);
  }
  const odd = { ...change('create', 'pairs', { key: '02:00:00:00:00:01' }), type: 'ether_addr' };
  t.throws(() => nft.changeElements([odd], 'to add'), { message: /ether_addr/ });
  t.equal(nft.foreignChanges(), before);
  t.end();
});

t.test('thousands of elements are one transaction', (t) => {
  const nft = opened(t);
  const before = nft.foreignChanges();
  const many = Array.from({ length: 3_000 }, (_, i) => ({ key: `6 . ${20_000 + i}`, value: '10.64.0.2 . 80' }));
  nft.changeElements([change('create', 'ports', ...many)], 'to add');
  t.equal(list(nft, 'ports').match(/6 \. \d+ : /g)?.length, 3_000);
  t.equal(nft.foreignChanges(), before);
  t.end();
});
