import t from 'tap';
import { checkPeers } from '../../../../network-plugin/route/gateways.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import { context } from '../../../conformance/route-provider.ts';
import { startedWorld as started, type World } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

const POOL = '10.64.0.0/12';

t.test('the ways to peers', async (t) => {
  t.test('follow claims, changed next hops and releases of either family', async (t) => {
    const world = await started(t);
    world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
    world.provider.other('host-3', 'fd64::/64', { address6: '2001:db8::3' });
    await until('both are there', () => world.kernel.peerRoutes.size === 2);
    world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.22' });
    await until('it is changed', () => world.kernel.peerRoutes.get('10.64.2.0/24') === '192.0.2.22');
    world.provider.vanish('fd64::/64');
    await until('it is gone', () => world.kernel.peerRoutes.size === 1);
    t.same(world.kernel.writes.slice(2), ['put 10.64.2.0/24 via 192.0.2.22', 'remove fd64::/64 via 2001:db8::3']);
  });

  t.test('are repaired, and nothing is written when all is well', async (t) => {
    const world = await started(t);
    world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
    await until('it is there', () => world.kernel.peerRoutes.size === 1);
    const writes = world.kernel.writes.length;
    const calls = world.provider.calls.filter((call) => call !== 'list').length;
    t.same(await world.engine.reconcile(true, context()), []);
    t.equal(world.kernel.writes.length, writes);
    t.equal(world.provider.calls.filter((call) => call !== 'list').length, calls);
    world.kernel.peerRoutes.clear();
    t.match(await world.engine.reconcile(true, context()), [
      { what: /missing route 10\.64\.2\.0\/24 via 192\.0\.2\.2/, repaired: true },
    ]);
  });

  t.test('stay while the provider is down, and are still repaired from what is known', async (t) => {
    const world = await started(t);
    world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
    await until('it is there', () => world.kernel.peerRoutes.size === 1);
    world.provider.fail();
    world.kernel.peerRoutes.clear();
    const drift = await world.engine.reconcile(true, context());
    t.match(drift, [
      { what: /not at work: pulled the plug/, repaired: false },
      { what: /missing route/, repaired: true },
    ]);
    t.equal(world.kernel.peerRoutes.size, 1);
  });

  t.test('that the kernel has at the start stay until the provider has answered', async (t) => {
    const world = await started(t, (world) => {
      world.provider.down = true;
      world.kernel.peerRoutes.set('10.64.2.0/24', '192.0.2.2').set('10.64.3.0/24', '192.0.2.3');
    });
    await world.engine.reconcile(true, context());
    t.same(world.kernel.writes, []);
    t.same(world.engine.ownerOf('10.64.2.7'), { host: '192.0.2.2', prefix: '10.64.2.0/24', ours: false });
    world.provider.down = false;
    world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
    await until('the stale one is gone', () => world.kernel.peerRoutes.size === 1);
    t.same(world.kernel.writes, ['remove 10.64.3.0/24 via 192.0.2.3']);
  });

  t.test("never lead a local network's packets away, nor those of an own prefix", async (t) => {
    const world = await started(t, (world) => {
      world.kernel.localUses = [
        { prefix: '192.168.0.0/16', kind: 'address', gateway: false, what: 'the subnet of eth0' },
      ];
    });
    await world.engine.claim('10.64.3.0/24', POOL, context());
    world.provider.other('host-2', '192.168.7.0/24');
    world.provider.other('host-3', '10.64.4.0/24', { address6: '2001:db8::3' });
    t.match(await world.engine.reconcile(true, context()), [
      { what: /192\.168\.7\.0\/24 of host host-2 overlaps the subnet of eth0/, repaired: false },
      { what: /10\.64\.4\.0\/24 of host host-3 has no next hop/, repaired: false },
    ]);
    t.same(world.kernel.writes, []);
  });

  t.test('are left to the router where that knows them, and old ones are removed', async (t) => {
    const world = await started(t, (world) => {
      world.provider.installsKernelRoutes = false;
      world.kernel.peerRoutes.set('10.64.2.0/24', '192.0.2.2');
      world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
    });
    await until('it is gone', () => world.kernel.peerRoutes.size === 0);
    t.same(world.kernel.writes, ['remove 10.64.2.0/24 via 192.0.2.2']);
  });
});

t.test('PEERS in the kernel', async (t) => {
  const peers = [
    { prefix: parseCidr('10.72.0.0/16'), via: '192.0.2.250' },
    { prefix: parseCidr('fd72::/48'), via: '2001:db8::250' },
  ];
  const ROUTES = ['10.72.0.0/16 via 192.0.2.250', 'fd72::/48 via 2001:db8::250'];
  const ways = ({ kernel }: World): string[] =>
    [...kernel.peerRoutes].map(([prefix, via]) => `${prefix} via ${via}`).sort();

  for (const installsKernelRoutes of [true, false]) {
    t.test(`are set and put back, ${installsKernelRoutes ? 'beside those of hosts' : 'on a host alone'}`, async (t) => {
      const world = await started(
        t,
        (world) => {
          world.provider.installsKernelRoutes = installsKernelRoutes;
          world.provider.other('host-2', '10.64.2.0/24', { address: '192.0.2.2' });
        },
        { peers },
      );
      const hosts = installsKernelRoutes ? ['10.64.2.0/24 via 192.0.2.2'] : [];
      await until('they are there', () => ways(world).length === hosts.length + 2);
      t.same(ways(world), [...hosts, ...ROUTES]);
      t.same(await world.engine.reconcile(true, context()), []);
      world.kernel.peerRoutes.delete('10.72.0.0/16');
      t.match(await world.engine.reconcile(true, context()), [
        { what: /missing route 10\.72\.0\.0\/16 via 192\.0\.2\.250/, repaired: true },
      ]);
      t.ok(world.engine.local().includes('10.72.0.0/16'), 'they are not masqueraded');
    });
  }

  t.test('taken out of the setting are removed', async (t) => {
    const world = await started(t, (world) => {
      for (const { prefix, via } of peers) world.kernel.peerRoutes.set(prefix.text, via);
    });
    await until('they are gone', () => world.kernel.peerRoutes.size === 0);
    t.equal(world.kernel.writes.length, 2);
  });

  t.test('stay while the provider is down, and belong to no host', async (t) => {
    const world = await started(
      t,
      (world) => {
        world.provider.down = true;
        for (const { prefix, via } of peers) world.kernel.peerRoutes.set(prefix.text, via);
      },
      { peers },
    );
    await world.engine.reconcile(true, context());
    t.same(world.kernel.writes, []);
    t.equal(world.engine.ownerOf('10.72.0.9'), undefined);
  });

  t.test('are refused to hosts, and a wider one does not lead own prefixes away', async (t) => {
    const wide = [{ prefix: parseCidr('10.72.0.0/16'), via: '192.0.2.250' }];
    const world = await started(t, () => undefined, { peers: wide });
    t.match(await world.engine.claim('10.72.3.0/24', POOL, context()).catch((error: unknown) => error), {
      code: 'ROUTE_CONFLICT',
      message: /10\.72\.3\.0\/24 in PEERS already points to 192\.0\.2\.250/,
    });
    t.equal(await world.engine.claimFree({ pool: '10.72.0.0/15', length: 24 }, context()), '10.73.0.0/24');
    await until('the way is there', () => world.kernel.peerRoutes.size === 1);
    t.same(await world.engine.reconcile(true, context()), []);
  });

  t.test('that overlap a local network are told and not set', async (t) => {
    const world = await started(
      t,
      (world) => {
        const what = 'the subnet of eth1';
        world.kernel.localUses = [{ prefix: '10.72.0.0/16', kind: 'address', gateway: false, what }];
      },
      { peers: peers.slice(0, 1) },
    );
    t.match(await world.engine.reconcile(true, context()), [{ what: /of PEERS overlaps the subnet of eth1/ }]);
    t.same(world.kernel.writes, []);
  });

  t.test('need an address of their own family', (t) => {
    const wrong = (prefix: string, via: string) => () => checkPeers([{ prefix: parseCidr(prefix), via }], 'kernel');
    t.throws(wrong('10.72.0.0/16', 'vgw-1'), { code: 'SETTING_INVALID', message: /PEERS=10\.72\.0\.0\/16 via vgw-1/ });
    t.throws(wrong('10.72.0.0/16', '2001:db8::1'), { code: 'SETTING_INVALID', message: /families/ });
    t.doesNotThrow(() => checkPeers(peers, 'kernel'));
    t.end();
  });
});
