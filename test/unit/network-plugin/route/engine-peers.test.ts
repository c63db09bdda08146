import t from 'tap';
import { context } from '../../../conformance/route-provider.ts';
import { startedWorld as started } from './engine-fakes.ts';
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
