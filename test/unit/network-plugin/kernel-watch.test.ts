import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { hostLink } from '../../../network-plugin/datapath/datapath.ts';
import { KernelWatch } from '../../../network-plugin/kernel-watch.ts';
import type { NetworkState } from '../../../network-plugin/state.ts';
import { findUplink } from '../../../network-plugin/uplink.ts';
import { addAddress, deleteAddress } from '../../../shared/kernel/address.ts';
import { createVeth, deleteLink, setLink } from '../../../shared/kernel/link-change.ts';
import { openNftables } from '../../../shared/kernel/nftables.ts';
import { addRoute, deleteRoute, RTPROT_DRAYAGE, RTPROT_STATIC, replaceRoute } from '../../../shared/kernel/route.ts';
import { MemoryStore } from '../../../shared/state/store.ts';
import { makeNamespace } from '../shared/kernel/namespaces.ts';
import { asEngine, context, endpointOf, makeWorld, network, quiet } from './datapath/ptp-world.ts';

const NET = 'a'.repeat(64);
const PEER = '10.65.0.0/24';

interface Test {
  teardown(work: () => void): void;
}

/** A host with one container, watched; `passes` counts, and repairs as the repair loop would. */
const makeScene = async (t: Test) => {
  const world = makeWorld(t);
  const { host, path } = world;
  const sandbox = makeNamespace(t, 'c');
  const endpoint = endpointOf(5);
  await path.setup(network, context());
  asEngine(host, sandbox, endpoint, await path.attach(endpoint, context()));
  host.rt.run(addRoute({ destination: PEER, via: '192.168.7.1' }));
  const store = new MemoryStore<NetworkState>();
  const link = hostLink(endpoint.id);
  await store.update((tx) => {
    tx.put('networks', NET, {
      ...{ id: NET, phase: 'ready', pools: network.pools, prefixes: network.prefixes, claims: [] },
      ...{ masquerade: 'auto', ingress: 'vpc', allow: [], internal: false, since: 0 },
    });
    tx.put('endpoints', endpoint.id, {
      ...{ id: endpoint.id, network: NET, phase: 'joined', mac: endpoint.mac, link, since: 0, ports: [] },
      ...{ address: '10.64.3.5', address6: 'fd64:0:0:3::5' },
    });
  });
  const passes: { at: number; drift: string[] }[] = [];
  const watch = new KernelWatch({
    rt: host.rt,
    store,
    routes: () => [{ prefix: PEER, ours: false }],
    uplink: () => findUplink(host.rt, { uplink: undefined, nodeIp: undefined }),
    touchUp: async () => {
      const found = await path.check([network], [{ ...endpoint, attached: true }], true, context());
      passes.push({ at: performance.now(), drift: found.map(({ what }) => what) });
    },
    log: quiet,
    netns: host.fd,
  });
  watch.start();
  t.teardown(() => watch.close());
  const index = host.link(link).index;
  /** Waits for the pass that something leads to, or for half a second without one. */
  const passAfter = async (work: () => void): Promise<string[] | undefined> => {
    const before = passes.length;
    const end = performance.now() + 500;
    work();
    while (passes.length === before && performance.now() < end) await sleep(10);
    return passes[before]?.drift;
  };
  return { ...world, store, link, index, passes, passAfter, watch, endpoint };
};

type Scene = Awaited<ReturnType<typeof makeScene>>;

t.test('what is taken away from us is put back soon, once, and that leads to no further pass', async (t) => {
  const { passes, passAfter, index, host } = await makeScene(t);
  const drift = await passAfter(() => {
    host.rt.run(
      deleteRoute({ destination: '10.64.3.5/32' }),
      deleteRoute({ destination: 'fd64:0:0:3::5/128' }),
      deleteAddress({ link: index, address: '169.254.1.1/32' }),
    );
  });
  t.equal(drift?.length, 3, String(drift));
  await sleep(700);
  t.equal(passes.length, 1);
});

for (const [what, touch] of [
  [
    'the answer for unused addresses',
    ({ host }) => host.rt.run(deleteRoute({ destination: '10.64.3.0/24', type: 'unreachable' })),
  ],
  ['the route to another host', ({ host }) => host.rt.run(deleteRoute({ destination: PEER }))],
  ['a link that is set down', ({ host, index }) => host.rt.run(setLink({ index }, { up: false }))],
  [
    'a route of others in the place of ours',
    ({ host, index }) =>
      host.rt.run(replaceRoute({ destination: '10.64.3.5/32', link: index, protocol: RTPROT_STATIC })),
  ],
  [
    'a new address of the host',
    ({ host }) => {
      const { index } = host.link('eth0');
      host.rt.run(deleteAddress({ link: index, address: '192.168.7.2/24' }));
      host.rt.run(addAddress({ link: index, address: '192.168.7.3/24' }));
    },
  ],
  [
    'our rules',
    ({ host }) => {
      const nft = openNftables(host.fd);
      nft.run('add table inet drayage; add chain inet drayage publish; delete table inet drayage', 'to test');
      nft.close();
    },
  ],
] as readonly (readonly [string, (scene: Scene) => void])[]) {
  t.test(`it is noticed: ${what}`, async (t) => {
    const all = await makeScene(t);
    t.ok(await all.passAfter(() => touch(all)));
  });
}

t.test('what we do ourselves, and what others do with their own, leads to no pass', async (t) => {
  const { passAfter, host, path, store, endpoint, watch } = await makeScene(t);
  const other = makeNamespace(t, 'd');
  t.equal(
    await passAfter(() => {
      host.rt.run(
        createVeth({ name: 'foreign', peer: 'peer', peerNetns: { fd: other.fd } }),
        setLink({ name: 'foreign' }, { up: true }),
        addRoute({ destination: '10.99.0.0/24', type: 'unreachable', protocol: RTPROT_STATIC }),
        deleteRoute({ destination: '10.99.0.0/24', type: 'unreachable', protocol: RTPROT_STATIC }),
        addRoute({ destination: '10.98.0.0/24', type: 'unreachable', protocol: RTPROT_DRAYAGE }),
        deleteRoute({ destination: '10.98.0.0/24', type: 'unreachable' }),
        deleteLink({ name: 'foreign' }),
      );
      const nft = openNftables(host.fd);
      nft.run('add table inet others; delete table inet others', 'to test');
      nft.close();
    }),
    undefined,
    'of others',
  );
  const record = store.get('endpoints', endpoint.id);
  if (record === undefined) throw new Error('no record');
  const { id } = endpointOf(6);
  const six = { ...record, id, link: hostLink(id), address: '10.64.3.6', address6: 'fd64:0:0:3::6' };
  await path.attach(endpointOf(6), context());
  await store.update((tx) => tx.put('endpoints', id, six));
  t.equal(await passAfter(() => undefined), undefined, 'a container that comes');
  await store.update((tx) => {
    tx.put('endpoints', id, { ...six, phase: 'leaving' });
    tx.put('endpoints', endpoint.id, { ...record, phase: 'leaving' });
  });
  await path.detach(id, context());
  t.equal(await passAfter(() => undefined), undefined, 'and goes');
  await path.detach(endpoint.id, context());
  t.equal(await passAfter(() => undefined), undefined, 'ours that leaves');
  watch.close();
  t.equal(await passAfter(() => host.rt.run(deleteRoute({ destination: PEER }))), undefined, 'after its end');
});

t.test('somebody who keeps taking it away is answered less and less often', async (t) => {
  const { passes, host } = await makeScene(t);
  const end = performance.now() + 2_500;
  while (performance.now() < end) {
    host.rt.attempt([deleteRoute({ destination: '10.64.3.5/32' })]);
    await sleep(20);
  }
  // Eight in the first second; the next one is due after five.
  t.ok(passes.length >= 6 && passes.length <= 8, `${passes.length} passes`);
});
