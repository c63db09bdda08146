import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { hostLink, sandboxLink } from '../../../../network-plugin/datapath/datapath.ts';
import { aliasOf } from '../../../../network-plugin/datapath/ptp-host.ts';
import { addAddress, deleteAddress } from '../../../../shared/kernel/address.ts';
import { findLink } from '../../../../shared/kernel/link.ts';
import { createBridge, createVeth, deleteLink, setLink } from '../../../../shared/kernel/link-change.ts';
import { setNeighbourTimes } from '../../../../shared/kernel/neighbour.ts';
import { addRoute, deleteRoute, listRoutes, RTPROT_DRAYAGE, RTPROT_STATIC } from '../../../../shared/kernel/route.ts';
import { makeNamespace } from '../../shared/kernel/namespaces.ts';
import { asEngine, context, endpointOf, makeWorld, network, ping } from './ptp-world.ts';

const known = (...numbers: number[]) => numbers.map((n) => ({ ...endpointOf(n), attached: true }));

t.test('containers, hosts and remote containers reach each other, in IPv4 and IPv6', async (t) => {
  const { host, router, path } = makeWorld(t);
  const [one, two] = [makeNamespace(t, 'c'), makeNamespace(t, 'c')];
  await path.setup(network, context());
  asEngine(host, one, endpointOf(5), await path.attach(endpointOf(5), context()));
  asEngine(host, two, endpointOf(6), await path.attach(endpointOf(6), context()));
  const ways = [
    [one, '10.64.3.6', 'its neighbour'],
    [one, 'fd64:0:0:3::6', 'its neighbour'],
    [one, '192.168.7.2', 'its host'],
    [one, 'fd07::2', 'its host'],
    [one, '10.64.9.9', 'a container of another host'],
    [one, 'fd64:0:0:9::9', 'a container of another host'],
    [host, '10.64.3.5', 'its container'],
    [host, 'fd64:0:0:3::5', 'its container'],
    [router, '10.64.3.6', 'a container of another host'],
    [router, 'fd64:0:0:3::6', 'a container of another host'],
  ] as const;
  for (const [from, to, whom] of ways) {
    const { ms, output } = await ping(from, to);
    t.ok(ms !== undefined && ms < 300, `${from.name} reaches ${whom} ${to} at the first ping`, { ms, output });
  }
  t.same(await path.check([network], known(5, 6), true, context()), [], 'nothing drifts when all is as attach made it');
});

t.test('packets that come before the engine has moved the link are answered soon after it has', async (t) => {
  const { host, path } = makeWorld(t);
  await path.setup(network, context());
  const attachment = await path.attach(endpointOf(5), context());
  const early = ['10.64.3.5', 'fd64:0:0:3::5'].map((to) => ping(host, to, '-W', '5'));
  await sleep(400);
  asEngine(host, makeNamespace(t, 'c'), endpointOf(5), attachment);
  for (const { ms, output } of await Promise.all(early))
    t.ok(ms !== undefined && ms < 900, 'not a second late', { output });
});

t.test('an address that nobody has is answered at once', async (t) => {
  const { host, router, path } = makeWorld(t);
  const one = makeNamespace(t, 'c');
  await path.setup(network, context());
  asEngine(host, one, endpointOf(5), await path.attach(endpointOf(5), context()));
  for (const from of [one, host, router]) {
    for (const to of ['10.64.3.77', 'fd64:0:0:3::77']) {
      const { output, took } = await ping(from, to);
      t.match(output, /nreachable|No route/, `${from.name} hears that ${to} is unreachable`);
      t.ok(took < 1000, 'without a wait', { took });
    }
  }
});

t.test('the MTU is the uplink’s unless the network says otherwise, and larger packets are told so', async (t) => {
  const { host, path } = makeWorld(t, { mtu: 1400 });
  const [one, two] = [makeNamespace(t, 'c'), makeNamespace(t, 'c')];
  await path.setup(network, context());
  asEngine(host, one, endpointOf(5), await path.attach(endpointOf(5), context()));
  const wide = endpointOf(6, { network: { ...network, mtu: 9000 } });
  asEngine(host, two, wide, await path.attach(wide, context()));
  t.equal(one.link('eth0').mtu, 1400);
  t.equal(two.link('eth0').mtu, 9000);
  const { ms } = await ping(two, '10.64.3.5', '-M', 'do', '-s', '1372');
  t.ok(ms !== undefined, '1400 bytes pass');
  const { output } = await ping(two, '10.64.3.5', '-M', 'do', '-s', '3000');
  t.match(output, /mtu = 1400/, 'more is refused with the MTU');
});

t.test('a host with arp_ignore and strict reverse path filters works', async (t) => {
  const { host, path } = makeWorld(t);
  const one = makeNamespace(t, 'c');
  for (const [key, value] of [
    ['arp_ignore', 1],
    ['arp_announce', 2],
    ['rp_filter', 1],
  ] as const) {
    host.sysctl.write(`ipv4/conf/all/${key}`, value);
  }
  await path.setup(network, context());
  asEngine(host, one, endpointOf(5), await path.attach(endpointOf(5), context()));
  t.ok((await ping(one, '192.168.7.2')).ms, 'container to host');
  t.ok((await ping(host, '10.64.3.5')).ms, 'host to container');
  t.ok((await ping(one, '10.64.9.9')).ms, 'container to another host’s');
});

t.test('without routes in the sandbox, proxy ARP answers at once', async (t) => {
  const { host, path } = makeWorld(t);
  const [one, two] = [makeNamespace(t, 'c'), makeNamespace(t, 'c')];
  await path.setup(network, context());
  const { address6: _6, ...four } = endpointOf(5);
  const { source } = await path.attach(four, context());
  asEngine(host, one, four, { source, routes: [] });
  asEngine(host, two, endpointOf(6), await path.attach(endpointOf(6), context()));
  const { ms } = await ping(one, '10.64.3.6');
  t.ok(ms !== undefined && ms < 300, 'the proxy does not wait its 0.8 s', { ms });
});

t.test('one family alone', async (t) => {
  const { host, path } = makeWorld(t);
  const [one, two] = [makeNamespace(t, 'c'), makeNamespace(t, 'c')];
  await path.setup(network, context());
  const { address: _4, ...six } = endpointOf(5);
  const { address6: _6, ...four } = endpointOf(6);
  const attached6 = await path.attach(six, context());
  t.same([attached6.gateway, attached6.gateway6], [undefined, 'fe80::1']);
  t.ok(attached6.routes.every(({ destination }) => destination.includes(':')));
  asEngine(host, one, six, attached6);
  const attached4 = await path.attach(four, context());
  t.same([attached4.gateway, attached4.gateway6], ['169.254.1.1', undefined]);
  asEngine(host, two, four, attached4);
  t.ok((await ping(one, 'fd07::2')).ms);
  t.ok((await ping(two, '192.168.7.2')).ms);
});

t.test('one sandbox in two networks of one pool', async (t) => {
  const { host, path } = makeWorld(t);
  const one = makeNamespace(t, 'c');
  await path.setup(network, context());
  const other = { ...network, id: 'b'.repeat(64), prefixes: ['10.64.4.0/24', 'fd64:0:0:4::/64'] };
  const first = endpointOf(5);
  const second = endpointOf(6, { slot: 1, network: other, address: '10.64.4.6', address6: 'fd64:0:0:4::6' });
  await path.setup(other, context());
  asEngine(host, one, first, await path.attach(first, context()), 'eth0');
  const attachment = await path.attach(second, context());
  t.same([attachment.gateway, attachment.gateway6], ['169.254.1.2', 'fe80::2'], 'the second has gateways of its own');
  asEngine(host, one, second, attachment, 'eth1', false);
  for (const to of ['10.64.9.9', 'fd64:0:0:9::9']) t.ok((await ping(one, to)).ms, `with both, ${to} answers`);
  for (const to of ['10.64.3.5', '10.64.4.6', 'fd64:0:0:3::5', 'fd64:0:0:4::6']) t.ok((await ping(host, to)).ms, to);
  await path.detach(second.id, context());
  for (const to of ['10.64.9.9', 'fd64:0:0:9::9']) t.ok((await ping(one, to)).ms, `with the first left, ${to} answers`);
});

t.test('a subnet as wide as the pool leads to the gateway whole', async (t) => {
  const { host, path } = makeWorld(t);
  const one = makeNamespace(t, 'c');
  const wide = { ...network, subnets: network.pools };
  await path.setup(wide, context());
  const endpoint = endpointOf(5, { network: wide });
  asEngine(host, one, endpoint, await path.attach(endpoint, context()), 'eth0', false);
  for (const to of ['10.64.9.9', 'fd64:0:0:9::9']) {
    t.ok((await ping(one, to)).ms, `${to} is reached without a default route`);
  }
  t.match((await ping(one, 'fd64:0:0:3::77')).output, /nreachable|No route/);
});

t.test('attach after it was cut off at any point makes the attachment whole', async (t) => {
  const { host, router, path } = makeWorld(t);
  await path.setup(network, context());
  const endpoint = endpointOf(5);
  const name = hostLink(endpoint.id);
  const peer = sandboxLink(endpoint.id);
  const index = () => host.link(name).index;
  const cuts: readonly [string, () => void][] = [
    ['before the alias', () => host.rt.run(setLink({ index: index() }, { alias: '' }))],
    ['before it was up', () => host.rt.run(setLink({ index: index() }, { up: false }))],
    ['before the settings', () => host.rt.run(setLink({ index: index() }, { ipv4: { proxyArp: 0, forwarding: 0 } }))],
    ['before the gateway', () => host.rt.run(deleteAddress({ link: index(), address: '169.254.1.1/32' }))],
    ['before the IPv6 gateway', () => host.rt.run(deleteAddress({ link: index(), address: 'fe80::1/128' }))],
    ['before the route', () => host.rt.run(deleteRoute({ destination: '10.64.3.5/32', link: index() }))],
    ['before the IPv6 route', () => host.rt.run(deleteRoute({ destination: 'fd64:0:0:3::5/128', link: index() }))],
    ['at the end', () => undefined],
    ['with another MTU', () => host.rt.run(setLink({ name: peer }, { mtu: 1300 }))],
    ['with another MAC', () => host.rt.run(setLink({ name: peer }, { mac: '02:00:00:00:00:77' }))],
  ];
  for (const [when, cut] of cuts) {
    await path.attach(endpoint, context());
    cut();
    if (when === 'before the alias') {
      // Cannot be: pair and alias are one call to the kernel. A pair without it is somebody else's.
      await t.rejects(path.attach(endpoint, context()), { code: 'LINK_FAILED' }, `${when}: refused as foreign`);
      host.rt.run(deleteLink({ name }));
      continue;
    }
    const sandbox = makeNamespace(t, 'c');
    asEngine(host, sandbox, endpoint, await path.attach(endpoint, context()));
    t.ok((await ping(sandbox, '10.64.9.9')).ms, `${when}: IPv4`);
    t.ok((await ping(router, 'fd64:0:0:3::5')).ms, `${when}: IPv6`);
    t.same(await path.check([network], known(5), false, context()), [], `${when}: nothing drifts`);
    await path.detach(endpoint.id, context());
    t.equal(findLink(sandbox.rt, { name: 'eth0' }), undefined, `${when}: detach takes the container's end along`);
  }
});

t.test('an intact pair is taken over, one whose far end is in a sandbox is made anew', async (t) => {
  const { host, path } = makeWorld(t);
  const sandbox = makeNamespace(t, 'c');
  const endpoint = endpointOf(5);
  t.equal(await path.present(endpoint.id), 'absent');
  await path.attach(endpoint, context());
  const { index } = host.link(hostLink(endpoint.id));
  t.equal(await path.present(endpoint.id), 'host');
  const attachment = await path.attach(endpoint, context());
  t.equal(host.link(hostLink(endpoint.id)).index, index);
  asEngine(host, sandbox, endpoint, attachment);
  t.equal(await path.present(endpoint.id), 'sandbox');
  await path.attach(endpoint, context());
  t.not(host.link(hostLink(endpoint.id)).index, index);
  t.equal(await path.present(endpoint.id), 'host');
});

t.test('links and routes of others are refused, not touched', async (t) => {
  const { host, path } = makeWorld(t);
  const endpoint = endpointOf(5);
  const name = hostLink(endpoint.id);
  host.rt.run(createBridge({ name }));
  await t.rejects(path.attach(endpoint, context()), { code: 'LINK_FAILED', message: /belongs to something else/ });
  await path.detach(endpoint.id, context());
  t.equal(host.link(name).kind, 'bridge', 'detach leaves it too');
  t.equal(await path.present(endpoint.id), 'absent');
  host.rt.run(deleteLink({ name }), createBridge({ name: sandboxLink(endpoint.id) }));
  await t.rejects(path.attach(endpoint, context()), { code: 'LINK_FAILED', message: /drc.* is there already/ });
  t.equal(findLink(host.rt, { name }), undefined, 'no half of a pair is left');
  host.rt.run(deleteLink({ name: sandboxLink(endpoint.id) }));
  const foreign = { destination: '10.64.3.5/32', link: host.link('eth0').index, protocol: RTPROT_STATIC };
  host.rt.run(addRoute(foreign));
  await t.rejects(path.attach(endpoint, context()), { code: 'LINK_FAILED', message: /another program/ });
  t.match(listRoutes(host.rt, { family: 2, protocol: RTPROT_STATIC }), [foreign], 'the route stays');
  t.equal(findLink(host.rt, { name }), undefined, 'the pair is taken back');
  const other = endpointOf(5, { id: `${endpoint.id.slice(0, 60)}0000` });
  host.rt.run(deleteRoute(foreign));
  await path.attach(endpoint, context());
  await t.rejects(path.attach(other, context()), { code: 'LINK_FAILED', message: /belongs to/ });
});

t.test('the route of an endpoint that Docker forgot gives way to the new holder of the address', async (t) => {
  const { host, path } = makeWorld(t);
  await path.attach(endpointOf(5), context());
  const heir = endpointOf(9, { address: '10.64.3.5', address6: 'fd64:0:0:3::5' });
  await path.attach(heir, context());
  const { index } = host.link(hostLink(heir.id));
  t.match(listRoutes(host.rt, { family: 2, link: index, protocol: RTPROT_DRAYAGE }), [{ destination: '10.64.3.5/32' }]);
});

t.test('check finds and repairs each drift, and writes nothing afterwards', async (t) => {
  const { host, path } = makeWorld(t);
  const sandbox = makeNamespace(t, 'c');
  const endpoint = endpointOf(5);
  await path.setup(network, context());
  asEngine(host, sandbox, endpoint, await path.attach(endpoint, context()));
  const name = hostLink(endpoint.id);
  const { index } = host.link(name);
  const eth0 = host.link('eth0').index;
  const drifts: readonly [RegExp, () => void][] = [
    [
      /route to 10.64.3.5\/32 was missing/,
      () => host.rt.run(deleteRoute({ destination: '10.64.3.5/32', link: index })),
    ],
    [/3::5\/128 was missing/, () => host.rt.run(deleteRoute({ destination: 'fd64:0:0:3::5/128', link: index }))],
    [/unused addresses of 10.64.3.0\/24 was missing/, () => host.rt.run(deleteRoute({ destination: '10.64.3.0/24' }))],
    [/3::\/64 was missing/, () => host.rt.run(deleteRoute({ destination: 'fd64:0:0:3::/64' }))],
    [/settings of dry/, () => host.rt.run(setLink({ index }, { ipv4: { proxyArp: 0 } }))],
    [/settings of dry/, () => host.rt.run(setNeighbourTimes(2, index, { proxyDelay: 800 }))],
    [
      /address 169.254.1.1\/32 .* missing/,
      () => host.rt.run(deleteAddress({ link: index, address: '169.254.1.1/32' })),
    ],
    [/address fe80::1\/128 .* missing/, () => host.rt.run(deleteAddress({ link: index, address: 'fe80::1/128' }))],
    [/accept_ra of dry.* was 2/, () => void host.sysctl.write(`ipv6/conf/${name}/accept_ra`, 2)],
    [/forwarding was off on the uplink/, () => host.rt.run(setLink({ index: eth0 }, { ipv4: { forwarding: 0 } }))],
    [
      /belongs to no endpoint/,
      () =>
        host.rt.run(
          createVeth({ name: 'dryffffffffff1', peer: 'drcffffffffff1' }),
          setLink({ name: 'dryffffffffff1' }, { alias: aliasOf('f'.repeat(64)) }),
        ),
    ],
    [
      /route to 10.64.3.99\/32 belongs to nothing/,
      () => host.rt.run(addRoute({ destination: '10.64.3.99/32', link: index })),
    ],
    [
      /route to 10.65.0.0\/24 belongs to nothing/,
      () => host.rt.run(addRoute({ destination: '10.65.0.0/24', type: 'unreachable', metric: 4096 })),
    ],
  ];
  for (const [what, cause] of drifts) {
    cause();
    const seen = await path.check([network], known(5), false, context());
    t.ok(
      seen.some((drift) => what.test(drift.what) && !drift.repaired),
      `${what} is seen`,
      { seen },
    );
    const repaired = await path.check([network], known(5), true, context());
    t.ok(
      repaired.some((drift) => what.test(drift.what) && drift.repaired),
      `${what} is repaired`,
      { repaired },
    );
    t.same(await path.check([network], known(5), true, context()), [], `${what} is gone`);
  }
  t.ok((await ping(sandbox, '10.64.9.9')).ms, 'packets flow after all that');
});

t.test('check leaves what belongs to others, and does not make a link whose container is gone', async (t) => {
  const { host, path } = makeWorld(t);
  await path.setup(network, context());
  const eth0 = host.link('eth0').index;
  host.rt.run(
    createVeth({ name: 'dryabcdefabcde', peer: 'mine0' }),
    addRoute({ destination: '10.64.8.0/24', via: '192.168.7.8', link: eth0 }),
    addRoute({ destination: '10.66.0.0/24', type: 'unreachable' }),
    addRoute({ destination: '10.67.0.1/32', link: eth0, protocol: RTPROT_STATIC }),
  );
  t.same(await path.check([network], [], true, context()), []);
  t.equal(listRoutes(host.rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 3);
  const drift = await path.check([network], known(5), true, context());
  t.match(drift, [{ what: /the link dry.* is gone/, repaired: false }]);
  t.equal(findLink(host.rt, { name: hostLink(endpointOf(5).id) }), undefined);
  await path.attach(endpointOf(6), context());
  const beingAttached = [{ ...endpointOf(6), attached: false }];
  t.same(await path.check([network], beingAttached, true, context()), [], 'one being attached keeps its link');
});

t.test('a changed address of the uplink reaches the routes', async (t) => {
  const { host, path } = makeWorld(t);
  const sandbox = makeNamespace(t, 'c');
  await path.setup(network, context());
  asEngine(host, sandbox, endpointOf(5), await path.attach(endpointOf(5), context()));
  const eth0 = host.link('eth0').index;
  host.rt.run(
    deleteAddress({ link: eth0, address: '192.168.7.2/24' }),
    addAddress({ link: eth0, address: '192.168.7.3/24' }),
    addRoute({ destination: '0.0.0.0/0', via: '192.168.7.1', link: eth0, protocol: RTPROT_STATIC }),
  );
  await path.check([network], known(5), true, context());
  t.match(listRoutes(host.rt, { family: 2, protocol: RTPROT_DRAYAGE, type: 'unicast' }), [{ source: '192.168.7.3' }]);
  t.ok((await ping(host, '10.64.3.5')).ms);
});

t.test('IPv6 forwarding does not cost the host its advertised default route', async (t) => {
  const { host, path } = makeWorld(t);
  t.equal(host.sysctl.read('ipv6/conf/all/forwarding'), '0');
  host.sysctl.write('ipv6/conf/eth0/accept_ra', 1);
  await path.setup(network, context());
  t.equal(host.sysctl.read('ipv6/conf/all/forwarding'), '1');
  t.equal(host.sysctl.read('ipv6/conf/eth0/accept_ra'), '2');
  t.equal(host.sysctl.read('ipv4/ip_forward'), '0', 'IPv4 forwards on the uplink and the containers’ links only');
});

t.test('setup and teardown can be repeated, and teardown takes only what setup made', async (t) => {
  const { host, path } = makeWorld(t);
  await path.setup(network, context());
  await path.setup(network, context());
  const ours = () =>
    [2, 10].flatMap((family) => listRoutes(host.rt, { family: family as 2 | 10, protocol: RTPROT_DRAYAGE }));
  t.equal(ours().length, 2);
  host.rt.run(addRoute({ destination: '10.64.3.0/24', via: '192.168.7.1', protocol: RTPROT_STATIC }));
  await path.teardown(network, context());
  await path.teardown(network, context());
  t.same(ours(), []);
  t.equal(listRoutes(host.rt, { family: 2, protocol: RTPROT_STATIC }).length, 1);
});

t.test('a host without a default route attaches with an MTU of 1500', async (t) => {
  const { host, path } = makeWorld(t);
  host.rt.run(
    deleteRoute({ destination: '0.0.0.0/0', protocol: 3 }),
    deleteRoute({ destination: '::/0', protocol: 3 }),
  );
  const sandbox = makeNamespace(t, 'c');
  asEngine(host, sandbox, endpointOf(5), await path.attach(endpointOf(5), context()));
  t.equal(sandbox.link('eth0').mtu, 1500);
  t.ok((await ping(host, '10.64.3.5')).ms);
});
