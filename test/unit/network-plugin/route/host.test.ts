import t from 'tap';
import { HostProvider } from '../../../../network-plugin/route/host.ts';
import { LinuxRouteKernel } from '../../../../network-plugin/route/linux-kernel.ts';
import { codeOf, context, routeProviderConformance, routesOf } from '../../../conformance/route-provider.ts';
import { makeNamespace, type Namespace } from '../../shared/kernel/namespaces.ts';

const self = { host: 'alone', address: '192.0.2.1' };
const provider = (namespace: Namespace): HostProvider =>
  new HostProvider({ kernel: new LinuxRouteKernel(namespace.rt), self });

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: true }, async (t) => {
    const namespace = makeNamespace(t, 'h');
    return { host: () => provider(namespace) };
  });
});

t.test('what is in the way is refused by name', async (t) => {
  const namespace = makeNamespace(t, 'h');
  namespace.ip('link', 'add', 'br-docker', 'type', 'bridge');
  namespace.ip('address', 'add', '172.18.0.1/16', 'dev', 'br-docker');
  namespace.ip('address', 'add', 'fd00:18::1/64', 'dev', 'br-docker', 'nodad');
  namespace.ip('link', 'set', 'br-docker', 'up');
  namespace.ip('route', 'add', '10.0.0.0/8', 'via', '172.18.0.2');
  namespace.ip('route', 'add', 'default', 'via', '172.18.0.3');
  const host = provider(namespace);
  const refusal = (prefix: string): Promise<unknown> =>
    host.create('main', { prefix, pool: prefix }, context()).catch((error: unknown) => error);

  t.test('a Docker bridge, whether the prefix lies in it or covers it', async (t) => {
    const wanted = { code: 'PREFIX_IS_LOCAL', message: /172\.18\.0\.0\/16.*br-docker \(address 172\.18\.0\.1\)/ };
    t.match(await refusal('172.18.7.0/24'), wanted);
    t.match(await refusal('172.16.0.0/12'), wanted);
    t.match(await refusal('fd00:18::/96'), { code: 'PREFIX_IS_LOCAL', message: /fd00:18::\/64.*br-docker/ });
  });

  t.test('a route of others', async (t) => {
    t.match(await refusal('10.64.0.0/24'), { code: 'ROUTE_CONFLICT', message: /10\.0\.0\.0\/8 via 172\.18\.0\.2/ });
  });

  t.test('but not the default route', async (t) => {
    t.equal(await refusal('192.168.64.0/24'), undefined);
    const [route] = namespace.ip('route', 'show', '192.168.64.0/24');
    t.match(route, { type: 'unreachable', dst: '192.168.64.0/24', protocol: '68' });
  });

  t.test('nothing was left behind by a refusal', async (t) => {
    t.same(
      (await routesOf(host)).map((route) => route.prefix),
      ['192.168.64.0/24'],
    );
  });
});

t.test('two plugins in one kernel: the second sees the claim of the first as made', async (t) => {
  const namespace = makeNamespace(t, 'h');
  await provider(namespace).create('main', { prefix: '10.64.0.0/24', pool: '10.64.0.0/12' }, context());
  t.equal(
    await codeOf(provider(namespace).create('main', { prefix: '10.64.0.0/24', pool: '10.64.0.0/12' }, context())),
    'none',
  );
});

t.test('a single address leads to its container: it is remembered, and no route is made of it', async (t) => {
  const namespace = makeNamespace(t, 'h');
  const host = provider(namespace);
  const address = { prefix: '10.64.200.7/32', pool: '10.64.0.0/12' };
  await host.create('main', { prefix: '10.64.3.0/24', pool: '10.64.0.0/12' }, context());
  await host.create('main', address, context());
  await host.create('main', address, context());
  t.same(namespace.ip('route', 'show', '10.64.200.7'), []);
  const prefixes = async () => (await routesOf(host)).map(({ prefix }) => prefix);
  t.same(await prefixes(), ['10.64.3.0/24', '10.64.200.7/32']);
  t.equal(await codeOf(host.create('main', { ...address, prefix: '10.64.200.0/24' }, context())), 'PREFIX_OVERLAP');
  t.equal(await codeOf(host.create('main', { ...address, prefix: '10.64.3.7/32' }, context())), 'PREFIX_OVERLAP');
  await host.remove('main', address, context());
  await host.remove('main', address, context());
  t.same(await prefixes(), ['10.64.3.0/24']);
});
