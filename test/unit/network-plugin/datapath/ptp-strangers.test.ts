// The records were lost while containers ran.
import t from 'tap';
import { hostLink } from '../../../../network-plugin/datapath/datapath.ts';
import { findLink } from '../../../../shared/kernel/link.ts';
import { deleteLink } from '../../../../shared/kernel/link-change.ts';
import { listRoutes, RTPROT_DRAYAGE } from '../../../../shared/kernel/route.ts';
import { makeNamespace } from '../../shared/kernel/namespaces.ts';
import { asEngine, context, endpointOf, makeWorld, network, ping } from './ptp-world.ts';

const nobody = new Set<string>();

t.test('a container that no record knows keeps its link, its routes and its prefix, and is told of', async (t) => {
  const { host, path, router } = makeWorld(t);
  const one = makeNamespace(t, 'c');
  await path.setup(network, context());
  asEngine(host, one, endpointOf(5), await path.attach(endpointOf(5), context()));
  // Not moved to its container: nobody uses it.
  await path.attach(endpointOf(6), context());

  t.same(await path.strangers(nobody), [
    { endpoint: endpointOf(5).id, link: hostLink(endpointOf(5).id), addresses: ['10.64.3.5', 'fd64:0:0:3::5'] },
  ]);
  t.same(await path.strangers(new Set([endpointOf(5).id])), []);

  const drift = await path.check([], [], true, context());
  t.match(
    drift.find(({ what }) => what.includes('no record knows')),
    { what: /^a container runs on dry00000000005 \(10\.64\.3\.5, fd64:0:0:3::5\)/, repaired: false },
  );
  t.match(
    drift.filter(({ what }) => what.includes('dry00000000006')),
    [{ what: /to no endpoint/, repaired: true }],
  );
  t.ok((await ping(one, '192.168.7.2')).ms, 'it reaches its host');
  t.ok((await ping(router, '10.64.3.5')).ms, 'and is reached from elsewhere');
  const rest = ['10.64.3.0/24', '10.64.3.5/32'];
  t.same(
    listRoutes(host.rt, { family: 2, protocol: RTPROT_DRAYAGE })
      .map(({ destination }) => destination)
      .sort(),
    rest,
  );
  t.equal((await path.check([], [], true, context())).length, 1, 'the next pass only tells of it again');

  await path.detach(endpointOf(5).id, context());
  await path.check([], [], true, context());
  t.equal(findLink(host.rt, { name: hostLink(endpointOf(5).id) }), undefined);
  t.same(listRoutes(host.rt, { family: 2, protocol: RTPROT_DRAYAGE }), [], 'afterwards nothing is left');
  t.same(await path.strangers(nobody), []);
});

t.test('a link of others whose far end is in a container is no stranger', async (t) => {
  const { host, path } = makeWorld(t);
  t.same(await path.strangers(nobody), [], 'the uplink is one');
  host.rt.run(deleteLink({ name: 'eth0' }));
});
