import t from 'tap';
import { createVeth } from '../../../../shared/kernel/link-change.ts';
import {
  addNeighbour,
  deleteNeighbour,
  deleteProxy,
  listNeighbours,
  listProxies,
  listProxyDelays,
  replaceNeighbour,
  setNeighbourTimes,
  setProxy,
} from '../../../../shared/kernel/neighbour.ts';
import { makeNamespace } from './namespaces.ts';

t.test('neighbours are added, replaced and deleted', async (t) => {
  const { rt, ip, link } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb', up: true }));
  const { index } = link('va');
  for (const [family, address] of [
    [2, '10.0.0.9'],
    [10, 'fd00::9'],
  ] as const) {
    rt.run(addNeighbour({ link: index, address, mac: '02:00:00:00:00:01' }));
    t.throws(() => rt.run(addNeighbour({ link: index, address, mac: '02:00:00:00:00:02' })), {
      code: 'KERNEL',
      errnoName: 'EEXIST',
    });
    rt.run(replaceNeighbour({ link: index, address, mac: '02:00:00:00:00:02', state: 'stale' }));
    t.match(
      listNeighbours(rt, { family, link: index }).filter((each) => each.address === address),
      [{ mac: '02:00:00:00:00:02', state: 'stale', link: index }],
    );
    t.match(ip('neigh', 'show', 'to', address), [{ lladdr: '02:00:00:00:00:02', state: ['STALE'] }]);
    rt.run(deleteNeighbour({ link: index, address }));
    t.throws(() => rt.run(deleteNeighbour({ link: index, address })), { code: 'KERNEL', errnoName: 'ENOENT' });
  }
});

t.test('proxies are set again without harm, listed apart from neighbours, and carry our mark', async (t) => {
  const { rt, ip, link } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb', up: true }));
  const { index } = link('va');
  rt.run(
    setProxy({ address: 'fd00::9', link: index }),
    setProxy({ address: 'fd00::9', link: index }),
    setProxy({ address: '10.0.0.9' }),
    setProxy({ address: '10.0.0.8', link: index }),
  );
  t.same(listProxies(rt, { family: 10 }), [{ family: 10, address: 'fd00::9', protocol: 68, link: index }]);
  // The kernel keeps entries for all links of a namespace that has died, and shows them in one that gets its place in
  // memory: only those of this test count.
  const mine = () => listProxies(rt, { family: 2 }).filter(({ address }) => address.startsWith('10.0.0.'));
  const four = mine().sort((a, b) => a.address.localeCompare(b.address));
  t.same(four, [
    { family: 2, address: '10.0.0.8', protocol: 68, link: index },
    { family: 2, address: '10.0.0.9', protocol: 68 },
  ]);
  t.same(
    listNeighbours(rt, { family: 10 }).filter(({ address }) => address === 'fd00::9'),
    [],
  );
  t.match(ip('-6', 'neigh', 'show', 'proxy'), [{ dst: 'fd00::9', dev: 'va', proxy: null }]);
  rt.run(deleteProxy({ address: 'fd00::9', link: index }), deleteProxy({ address: '10.0.0.9' }));
  t.throws(() => rt.run(deleteProxy({ address: '10.0.0.9' })), { code: 'KERNEL', errnoName: 'ENOENT' });
  t.equal(mine().length, 1);
});

t.test('IPv6 knows no proxy for all links', async (t) => {
  const { rt } = makeNamespace(t);
  t.throws(() => rt.run(setProxy({ address: 'fd00::9' })), { code: 'KERNEL' });
});

t.test('the times of neighbours are set for one link; the delay of proxies is read back', async (t) => {
  const { rt, link, sysctl } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb' }));
  const [one, other] = [link('va').index, link('vb').index];
  for (const [family, version] of [
    [2, 'ipv4'],
    [10, 'ipv6'],
  ] as const) {
    t.equal(listProxyDelays(rt, family).get(one), 800);
    rt.run(setNeighbourTimes(family, one, { proxyDelay: 0, retransmit: 40, probes: 9 }));
    t.same([listProxyDelays(rt, family).get(one), listProxyDelays(rt, family).get(other)], [0, 800]);
    t.equal(sysctl.read(`${version}/neigh/va/proxy_delay`), '0');
    t.equal(sysctl.read(`${version}/neigh/va/mcast_solicit`), '9');
    rt.run(setNeighbourTimes(family, other, { retransmit: 80 }));
    t.same(
      ['va', 'vb'].map((name) => sysctl.read(`${version}/neigh/${name}/retrans_time_ms`)),
      ['40', '80'],
    );
    t.equal(listProxyDelays(rt, family).get(other), 800, 'what is not named stays');
  }
});

t.test('wrong input', async (t) => {
  const { rt } = makeNamespace(t);
  t.throws(() => rt.run(setProxy({ address: '10.0.0.0/8' })), RangeError);
  t.throws(() => rt.run(addNeighbour({ link: 1, address: '10.0.0.1', mac: '1' })), RangeError);
  t.throws(() => rt.run(setProxy({ address: 'fd00::9', link: 99 })), { code: 'KERNEL', errnoName: 'ENODEV' });
});
