import t from 'tap';
import { MalformedMessage } from '../../../../shared/kernel/attribute.ts';
import { findLink, listLinks, parseLink } from '../../../../shared/kernel/link.ts';
import { createBridge, createVeth, deleteLink, setLink } from '../../../../shared/kernel/link-change.ts';
import { IPV4_CONF, IPV6_CONF } from '../../../../shared/kernel/link-conf.ts';
import { makeNamespace } from './namespaces.ts';

t.test('a veth pair is made as ordered, as ip shows it', async (t) => {
  const { rt, ip, link } = makeNamespace(t);
  rt.run(
    createVeth({ name: 'va', peer: 'vb', mtu: 1400, mac: '02:42:0a:00:00:01', peerMac: '02:42:0a:00:00:02', up: true }),
    setLink({ name: 'va' }, { alias: 'drayage:42', noAddressGeneration: true }),
  );
  const [shown] = ip('link', 'show', 'va');
  t.match(shown, {
    ifname: 'va',
    link: 'vb',
    mtu: 1400,
    address: '02:42:0a:00:00:01',
    ifalias: 'drayage:42',
    inet6_addr_gen_mode: 'none',
    linkinfo: { info_kind: 'veth' },
  });
  const found = link('va');
  t.match(found, {
    index: shown?.['ifindex'],
    name: 'va',
    kind: 'veth',
    mtu: 1400,
    mac: '02:42:0a:00:00:01',
    up: true,
    running: false,
    alias: 'drayage:42',
    noAddressGeneration: true,
  });
  t.equal(found.peer, link('vb').index);
  t.equal(found.peerNetns, undefined);
  t.match(link('vb'), { mac: '02:42:0a:00:00:02', mtu: 1400, up: false, noAddressGeneration: false });
});

t.test('a veth pair has as many queues as ordered, at both ends', async (t) => {
  const { rt, ip } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb', queues: 1 }), createVeth({ name: 'vc', peer: 'vd', queues: 3 }));
  for (const [name, queues] of Object.entries({ va: 1, vb: 1, vc: 3, vd: 3 })) {
    t.match(ip('-d', 'link', 'show', name), [{ num_tx_queues: queues, num_rx_queues: queues }], name);
  }
});

t.test('a link moves to another namespace by descriptor and is found there', async (t) => {
  const [one, two] = [makeNamespace(t), makeNamespace(t)];
  one.rt.run(createVeth({ name: 'va', peer: 'vb', peerNetns: { fd: two.fd } }));
  t.type(one.link('va').peerNetns, 'number');
  t.ok(two.link('vb'));
  one.rt.run(createBridge({ name: 'br0', up: true }), createVeth({ name: 'vc', peer: 'vd' }));
  one.rt.run(setLink({ name: 'vd' }, { netns: { fd: two.fd } }));
  t.equal(findLink(one.rt, { name: 'vd' }), undefined);
  two.rt.run(setLink({ index: two.link('vd').index }, { rename: 'eth0', up: true, mac: '02:00:00:00:00:09' }));
  t.match(two.link('eth0'), { up: true, mac: '02:00:00:00:00:09' });
  one.rt.run(deleteLink({ index: one.link('vc').index }));
  t.equal(findLink(two.rt, { name: 'eth0' }), undefined, 'deleting one end takes the other along');
});

t.test('bridges, masters and filters', async (t) => {
  const { rt, link, ip } = makeNamespace(t);
  rt.run(createBridge({ name: 'br0', mtu: 1450, mac: '02:00:00:00:00:01', up: true }));
  rt.run(createVeth({ name: 'va', peer: 'vb' }), createVeth({ name: 'vc', peer: 'vd' }));
  const bridge = link('br0');
  t.match(bridge, { kind: 'bridge', mtu: 1450, mac: '02:00:00:00:00:01', up: true });
  rt.run(setLink({ name: 'va' }, { master: bridge.index }));
  t.equal(ip('link', 'show', 'va')[0]?.['master'], 'br0');
  const names = (filter: object): string[] =>
    listLinks(rt, filter)
      .map(({ name }) => name)
      .sort();
  t.same(names({}), ['br0', 'lo', 'va', 'vb', 'vc', 'vd']);
  t.same(names({ kind: 'bridge' }), ['br0']);
  t.same(names({ kind: 'veth' }), ['va', 'vb', 'vc', 'vd']);
  t.same(names({ master: bridge.index }), ['va']);
  rt.run(setLink({ name: 'va' }, { master: 0 }));
  t.same(names({ master: bridge.index }), []);
});

t.test('IPv4 settings are written through netlink and are those that /proc shows', async (t) => {
  const { rt, link, sysctl } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb' }));
  rt.run(
    setLink({ name: 'va' }, { ipv4: { forwarding: 1, proxyArp: 1, rpFilter: 2, routeLocalnet: 1, arpIgnore: 2 } }),
  );
  const file = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const found = link('va');
  for (const key of Object.keys(IPV4_CONF) as (keyof typeof IPV4_CONF)[]) {
    const name = key === 'srcValidMark' ? 'src_valid_mark' : key === 'arpFilter' ? 'arp_filter' : file(key);
    t.equal(String(found.ipv4[key]), sysctl.read(`ipv4/conf/va/${name}`), `ipv4 ${key}`);
  }
  for (const key of ['acceptRa', 'proxyNdp', 'disableIpv6', 'acceptDad', 'dadTransmits'] as const) {
    sysctl.write(`ipv6/conf/va/${file(key).replace('ipv6', 'ipv6')}`, key === 'disableIpv6' ? 1 : 3);
  }
  const again = link('va');
  for (const key of Object.keys(IPV6_CONF) as (keyof typeof IPV6_CONF)[]) {
    t.equal(String(again.ipv6[key]), sysctl.read(`ipv6/conf/va/${file(key)}`), `ipv6 ${key}`);
  }
  t.match(found.ipv4, { forwarding: 1, proxyArp: 1, rpFilter: 2, routeLocalnet: 1, arpIgnore: 2 });
});

t.test('counters are read when asked for', async (t) => {
  const { rt, run } = makeNamespace(t);
  await run('ping', '-c', '1', '127.0.0.1');
  t.equal(findLink(rt, { name: 'lo' })?.stats, undefined);
  const stats = findLink(rt, { name: 'lo' }, { stats: true })?.stats;
  t.ok(stats !== undefined && stats.rxPackets >= 2n && stats.txBytes >= 168n);
});

t.test('wrong names, numbers and aliases are refused before the kernel sees them', async (t) => {
  const { rt } = makeNamespace(t);
  for (const name of ['', '.', '..', 'a b', 'a/b', 'a:b', 'x'.repeat(16), 'a\0b', 'é'.repeat(8)]) {
    t.throws(() => rt.run(createVeth({ name, peer: 'vb' })), RangeError, JSON.stringify(name));
  }
  rt.run(createVeth({ name: 'x'.repeat(15), peer: 'vb' }));
  t.throws(() => rt.run(setLink({ index: 0 }, { up: true })), RangeError);
  t.throws(() => rt.run(setLink({ index: 1.5 }, { up: true })), RangeError);
  t.throws(() => rt.run(setLink({ name: 'vb' }, { alias: 'x'.repeat(256) })), RangeError);
  t.throws(() => rt.run(setLink({ name: 'vb' }, { mac: 'zz' })), RangeError);
  t.throws(() => rt.run(setLink({ name: 'vb' }, { rename: 'vc' })), RangeError);
  t.throws(() => rt.run(setLink({ name: 'vb' }, { mtu: 70_000 })), { code: 'KERNEL' });
  t.throws(() => rt.run(createVeth({ name: 'va', peer: 'vb' })), { code: 'KERNEL', errnoName: 'EEXIST' });
  t.throws(() => rt.run(setLink({ name: 'nothere' }, { up: true })), { code: 'KERNEL', errnoName: 'ENODEV' });
  t.equal(findLink(rt, { index: 999 }), undefined);
});

t.test('a message that is cut short is refused', async (t) => {
  t.throws(() => parseLink({ type: 16, flags: 0, sequence: 0, body: Buffer.alloc(8) }), MalformedMessage);
});
