import t from 'tap';
import { addAddress } from '../../../../shared/kernel/address.ts';
import { createVeth } from '../../../../shared/kernel/link-change.ts';
import {
  addRoute,
  appendRoute,
  deleteRoute,
  listRoutes,
  lookUpRoute,
  type Route,
  RTPROT_DRAYAGE,
  RTPROT_STATIC,
  replaceRoute,
} from '../../../../shared/kernel/route.ts';
import { makeNamespace, type Namespace } from './namespaces.ts';

const withLink = (t: { teardown(work: () => void): void }): Namespace & { readonly index: number } => {
  const namespace = makeNamespace(t);
  namespace.rt.run(createVeth({ name: 'va', peer: 'vb', up: true }));
  const { index } = namespace.link('va');
  namespace.rt.run(
    addAddress({ link: index, address: '10.9.0.5/16' }),
    addAddress({ link: index, address: 'fd09::5/64', noDad: true }),
  );
  return { ...namespace, index };
};

t.test('routes of every type, as ip shows them and as they are read back', async (t) => {
  const { rt, ip, index } = withLink(t);
  const routes: Route[] = [
    { destination: '10.1.2.3/32', link: index, source: '10.9.0.5' },
    { destination: '10.2.0.0/16', link: index, via: '10.9.1.1', metric: 50, mtu: 1300 },
    { destination: '10.3.0.0/16', link: index, via: '192.0.2.1', onlink: true },
    { destination: '10.4.0.0/16', link: index, via: 'fe80::7' },
    { destination: '10.5.0.0/16', type: 'unreachable' },
    { destination: '10.6.0.0/16', type: 'blackhole', metric: 7 },
    { destination: '0.0.0.0/0', link: index, via: '10.9.0.1' },
    { destination: 'fd01::3/128', link: index, source: 'fd09::5' },
    { destination: 'fd02::/64', link: index, via: 'fd09::1', metric: 50, mtu: 1300 },
    { destination: 'fd05::/64', type: 'unreachable', metric: 4096 },
    { destination: 'fd06::/64', type: 'blackhole' },
    { destination: '::/0', link: index, via: 'fe80::1' },
  ];
  rt.run(...routes.map(addRoute));
  const protocol = RTPROT_DRAYAGE;
  const found = [...listRoutes(rt, { family: 2, protocol }), ...listRoutes(rt, { family: 10, protocol })];
  for (const route of routes) {
    const same = found.find(({ destination }) => destination === route.destination);
    // An IPv6 route without a link is shown on lo.
    t.match(same, { type: 'unicast', protocol: 68, table: 254, ...route }, route.destination);
  }
  t.equal(found.length, routes.length);
  const shown = [...ip('route', 'show', 'proto', '68'), ...ip('-6', 'route', 'show', 'proto', '68')];
  t.equal(shown.length, routes.length);
  t.match(
    shown.find(({ dst }) => dst === '10.2.0.0/16'),
    { gateway: '10.9.1.1', dev: 'va', metric: 50, metrics: [{ mtu: 1300 }] },
  );
  t.match(
    shown.find(({ dst }) => dst === '10.1.2.3'),
    { scope: 'link', prefsrc: '10.9.0.5' },
  );
  t.match(
    shown.find(({ dst }) => dst === '10.3.0.0/16'),
    { flags: ['onlink'] },
  );
  t.match(
    shown.find(({ dst }) => dst === '10.4.0.0/16'),
    { via: { family: 'inet6', host: 'fe80::7' } },
  );
  t.match(
    shown.find(({ dst }) => dst === 'fd05::/64'),
    { type: 'unreachable' },
  );
});

t.test('add refuses what is there, replace takes its place, delete needs it to be there', async (t) => {
  const { rt, index } = withLink(t);
  for (const [destination, first, second] of [
    ['10.1.0.0/24', '10.9.0.1', '10.9.0.2'],
    ['fd01::/64', 'fd09::1', 'fd09::2'],
  ] as const) {
    const family = destination.includes(':') ? 10 : 2;
    const hops = () => listRoutes(rt, { family, protocol: RTPROT_DRAYAGE }).map(({ via }) => via);
    rt.run(addRoute({ destination, via: first }));
    t.throws(() => rt.run(addRoute({ destination, via: second })), { code: 'KERNEL', errnoName: 'EEXIST' });
    rt.run(replaceRoute({ destination, via: second, link: index }));
    t.same(hops(), [second]);
    t.throws(() => rt.run(deleteRoute({ destination, via: first })), { code: 'KERNEL', errnoName: 'ESRCH' });
    t.throws(
      () => rt.run(deleteRoute({ destination, protocol: RTPROT_STATIC })),
      { code: 'KERNEL', errnoName: 'ESRCH' },
      'not ours',
    );
    rt.run(deleteRoute({ destination, via: second }));
    t.same(hops(), []);
  }
  rt.run(
    addRoute({ destination: '10.1.0.0/24', via: '10.9.0.1' }),
    appendRoute({ destination: '10.1.0.0/24', via: '10.9.0.2' }),
  );
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 2, 'append puts a second behind it');
});

t.test('delete without a type takes a route of any type', async (t) => {
  const { rt } = withLink(t);
  rt.run(
    addRoute({ destination: '10.1.0.0/24', type: 'unreachable' }),
    addRoute({ destination: 'fd01::/64', type: 'unreachable' }),
  );
  rt.run(deleteRoute({ destination: '10.1.0.0/24' }), deleteRoute({ destination: 'fd01::/64' }));
  t.same(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }), []);
});

t.test('the kernel filters by table, protocol, link, type and family', async (t) => {
  const { rt, index } = withLink(t);
  rt.run(
    addRoute({ destination: '10.1.0.0/24', link: index }),
    addRoute({ destination: '10.2.0.0/24', link: 1 }),
    addRoute({ destination: '10.3.0.0/24', link: index, protocol: RTPROT_STATIC }),
    addRoute({ destination: '10.4.0.0/24', link: index, table: 1000 }),
    addRoute({ destination: '10.5.0.0/24', type: 'unreachable' }),
    addRoute({ destination: 'fd04::/64', link: index, table: 1000 }),
  );
  const texts = (filter: Parameters<typeof listRoutes>[1]): string[] =>
    listRoutes(rt, filter)
      .map(({ destination }) => destination.split('.')[1] ?? '')
      .sort();
  t.same(texts({ family: 2, protocol: RTPROT_DRAYAGE }), ['1', '2', '5']);
  t.same(texts({ family: 2, protocol: RTPROT_DRAYAGE, table: 0 }), ['1', '2', '4', '5']);
  t.same(texts({ family: 2, protocol: RTPROT_DRAYAGE, link: index }), ['1']);
  t.same(texts({ family: 2, protocol: RTPROT_STATIC }), ['3']);
  t.same(texts({ family: 2, table: 1000 }), ['4']);
  t.same(texts({ family: 2, table: 4711 }), [], 'a table that nobody has used is empty');
  t.same(texts({ family: 2, type: 'unreachable' }), ['5']);
  t.equal(listRoutes(rt, { family: 10, table: 1000 })[0]?.table, 1000);
});

t.test('looking up says what the kernel would do', async (t) => {
  const { rt, index } = withLink(t);
  rt.run(
    addRoute({ destination: '10.1.0.0/24', link: index, via: '10.9.0.1' }),
    addRoute({ destination: '10.2.0.0/24', type: 'unreachable' }),
  );
  t.match(lookUpRoute(rt, '10.1.0.7'), {
    link: index,
    via: '10.9.0.1',
    source: '10.9.0.5',
    destination: '10.1.0.7/32',
  });
  t.match(lookUpRoute(rt, '10.1.0.7', { entry: true }), { destination: '10.1.0.0/24', protocol: RTPROT_DRAYAGE });
  t.match(lookUpRoute(rt, 'fd09::1'), { link: index });
  t.match(lookUpRoute(rt, '10.9.0.5', { entry: true }), { type: 'local', link: index });
  t.throws(() => lookUpRoute(rt, '10.2.0.7'), { code: 'KERNEL', errnoName: 'EHOSTUNREACH' });
  t.throws(() => lookUpRoute(rt, '203.0.113.1'), { code: 'KERNEL', errnoName: 'ENETUNREACH' });
});

t.test('wrong input', async (t) => {
  const { rt } = withLink(t);
  t.throws(() => rt.run(addRoute({ destination: 'default', link: 1 })), RangeError);
  t.throws(() => rt.run(addRoute({ destination: 'fd01::/64', via: '10.9.0.1' })), RangeError);
  t.throws(() => rt.run(addRoute({ destination: '10.1.0.0/24', link: 99 })), { code: 'KERNEL', errnoName: 'ENODEV' });
  t.throws(() => rt.run(addRoute({ destination: '10.1.0.0/24', via: '203.0.113.1' })), {
    code: 'KERNEL',
    reason: /invalid gateway/,
  });
  t.throws(() => lookUpRoute(rt, '10.0.0.0/8'), RangeError);
});
