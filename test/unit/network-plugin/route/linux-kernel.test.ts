import t from 'tap';
import { inTheWay, type LocalUse, refuseLocal } from '../../../../network-plugin/route/kernel.ts';
import { LinuxRouteKernel } from '../../../../network-plugin/route/linux-kernel.ts';
import { codeOf } from '../../../conformance/route-provider.ts';
import { makeNamespace } from '../../shared/kernel/namespaces.ts';

t.test('ways to peers', async (t) => {
  const namespace = makeNamespace(t, 'k');
  namespace.ip('link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up1');
  namespace.ip('address', 'add', '192.0.2.1/24', 'dev', 'up0');
  namespace.ip('address', 'add', '2001:db8::1/64', 'dev', 'up0', 'nodad');
  namespace.ip('link', 'set', 'up0', 'up');
  namespace.ip('link', 'set', 'up1', 'up');
  const kernel = new LinuxRouteKernel(namespace.rt);

  for (const [prefix, first, second] of [
    ['10.64.2.0/24', '192.0.2.2', '192.0.2.3'],
    ['fd64:0:0:2::/64', '2001:db8::2', '2001:db8::3'],
  ] as const) {
    t.test(`${prefix} is set, replaced in place and removed`, async (t) => {
      const family = prefix.includes(':') ? '-6' : '-4';
      const shown = () => namespace.ip(family, 'route', 'show', 'proto', '68');
      await kernel.putPeer({ prefix, via: first });
      await kernel.putPeer({ prefix, via: second });
      t.match(shown(), [{ gateway: second, dev: 'up0' }]);
      const [found] = (await kernel.peers()).filter((route) => route.via === second);
      t.ok(found);
      t.equal(shown().length, 1);
      await kernel.removePeer({ prefix, via: first });
      t.equal(shown().length, 1, 'another next hop is another route');
      await kernel.removePeer({ prefix, via: second });
      await kernel.removePeer({ prefix, via: second });
      t.same(shown(), []);
    });
  }

  t.test("a route of the administrator's is not replaced, and its owner is told", async (t) => {
    namespace.ip('route', 'add', '10.64.7.0/24', 'via', '192.0.2.77', 'proto', 'static');
    const refusal = await kernel.putPeer({ prefix: '10.64.7.0/24', via: '192.0.2.2' }).catch((error: unknown) => error);
    t.match(refusal, { code: 'ROUTE_CONFLICT', message: /192\.0\.2\.77/ });
    t.match(namespace.ip('route', 'show', '10.64.7.0/24'), [{ gateway: '192.0.2.77' }]);
    t.same(await kernel.peers(), []);
  });

  t.test('a next hop that is not on any connected network is refused by the kernel', async (t) => {
    t.equal(await codeOf(kernel.putPeer({ prefix: '10.64.8.0/24', via: '203.0.113.9' })), 'KERNEL');
  });

  t.test('routes of endpoints and of others are no ways to peers', async (t) => {
    namespace.ip('route', 'add', '10.64.9.2', 'dev', 'up0', 'proto', '68');
    t.same(await kernel.peers(), []);
    t.same(await kernel.held(), []);
  });
});

t.test('held prefixes', async (t) => {
  const namespace = makeNamespace(t, 'k');
  const kernel = new LinuxRouteKernel(namespace.rt);
  for (const prefix of ['10.64.2.0/24', 'fd64:0:0:2::/64']) {
    t.equal(await kernel.hold(prefix), true);
    t.equal(await kernel.hold(prefix), false, 'the kernel decides who was first');
  }
  t.same(await kernel.held(), ['10.64.2.0/24', 'fd64:0:0:2::/64']);
  t.same(
    await kernel.uses(),
    (await kernel.uses()).filter((use) => use.kind === 'address'),
  );
  for (const prefix of ['10.64.2.0/24', 'fd64:0:0:2::/64']) {
    await kernel.unhold(prefix);
    await kernel.unhold(prefix);
  }
  t.same(await kernel.held(), []);
});

t.test('an unreachable route of others is not taken for ours', async (t) => {
  const namespace = makeNamespace(t, 'k');
  const kernel = new LinuxRouteKernel(namespace.rt);
  namespace.ip('route', 'add', 'unreachable', '10.64.2.0/24');
  t.equal(await kernel.hold('10.64.2.0/24'), false);
  t.same(await kernel.held(), []);
  await kernel.unhold('10.64.2.0/24');
  t.equal(namespace.ip('route', 'show', '10.64.2.0/24').length, 1);
});

t.test('what is in the way of a prefix', async (t) => {
  const subnet: LocalUse = { prefix: '192.168.0.0/16', kind: 'address', gateway: false, what: 'the subnet of eth0' };
  const wide: LocalUse = { prefix: '10.0.0.0/8', kind: 'route', gateway: true, what: 'the route 10.0.0.0/8' };
  t.equal(inTheWay('192.168.3.0/24', subnet, true), true);
  t.equal(inTheWay('192.0.0.0/8', subnet, true), true);
  t.equal(inTheWay('192.169.0.0/16', subnet, true), false);
  t.equal(inTheWay('fd00::/8', subnet, true), false);
  t.equal(inTheWay('10.64.0.0/24', wide, true), false);
  t.equal(inTheWay('10.64.0.0/24', wide, false), true);
  t.equal(inTheWay('10.0.0.0/8', wide, true), true, 'the very same prefix cannot be cut out');
  t.equal(inTheWay('0.0.0.0/0', wide, true), true);
  t.throws(() => refuseLocal('192.168.3.0/24', [wide, subnet], true), { code: 'PREFIX_IS_LOCAL' });
  t.throws(() => refuseLocal('10.3.0.0/16', [wide, subnet], false), { code: 'ROUTE_CONFLICT' });
  t.doesNotThrow(() => refuseLocal('10.3.0.0/16', [wide, subnet], true));
});
