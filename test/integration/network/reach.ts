import type { Test } from 'tap';
import { GATEWAY4 } from '../../rig/addresses.ts';
import type { Cluster } from '../support/cluster.ts';

/** Who reaches whom, and that nothing is done to the packets on the way. */
export async function reach(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc');
  await Promise.all([
    one.serve('first', '--network', 'web'),
    one.serve('second', '--network', 'web'),
    two.serve('third', '--network', 'web'),
  ]);
  const [first, second, third] = await Promise.all([one.address('first'), one.address('second'), two.address('third')]);

  await t.test('containers and hosts reach each other over HTTP, and see each other’s own addresses', async (t) => {
    t.equal(await one.whoami('first', second), first, 'containers of one host');
    t.equal(await one.whoami('first', third), first, 'containers of two hosts');
    t.equal(await two.whoami('third', first), third, 'and back');
    t.equal(await one.whoamiFromHost(first), one.host.v4, 'a host its own container');
    t.equal(await two.whoamiFromHost(first), two.host.v4, 'a host another’s container');
    await Promise.all(cluster.members.map((member) => member.serveOnHost(8099)));
    t.equal(await one.whoami('first', `${one.host.v4}:8099`), first, 'a container its own host');
    t.equal(await one.whoami('first', `${two.host.v4}:8099`), first, 'a container the other host');
  });

  await t.test('containers and hosts ping each other', async (t) => {
    const answers = await Promise.all([
      one.pings('first', second),
      one.pings('first', third),
      two.pings('third', first),
      one.pings('first', one.host.v4),
      one.pings('first', two.host.v4),
      one.pings(undefined, first),
      two.pings(undefined, first),
    ]);
    t.same(
      answers,
      answers.map(() => true),
    );
  });

  await t.test('packets travel by the route tables of hosts and router, and by no tunnel', async (t) => {
    const prefixOf = (address: string): string => address.replace(/\.\d+$/, '.0/24');
    t.same(
      (await cluster.rig.router.routes()).toSorted((a, b) => a.host - b.host),
      [
        { prefix: prefixOf(first), host: 1 },
        { prefix: prefixOf(third), host: 2 },
      ],
    );
    // In a cloud hosts know nothing of each other: all that leaves goes to the router.
    const next = cluster.cloud === undefined ? two.host.v4 : GATEWAY4;
    t.match(await one.host.must(['ip', 'route', 'get', third]), `${third} via ${next} dev eth0`);
    const links = JSON.parse(await one.host.must(['ip', '-j', '-d', 'link'])) as {
      linkinfo?: { info_kind?: string };
    }[];
    const kinds = new Set(links.flatMap(({ linkinfo }) => linkinfo?.info_kind ?? []));
    t.same([...kinds].sort(), ['bridge', 'veth'], 'docker0 is the only bridge, and there is nothing else');
    t.notMatch(await one.host.must(['ip', '-o', 'link', 'show', 'type', 'veth']), 'docker0', 'and no veth is in it');
  });

  await t.test('an address that no container has is answered at once, from near and far', async (t) => {
    const ping = ['ping', '-c', '1', '-W', '5', first.replace(/\d+$/, '250')];
    for (const [member, container] of [
      [one, 'second'],
      [two, 'third'],
    ] as const) {
      const { code, stdout, ms } = await member.hostNamespaceOf(container, ping);
      t.not(code, 0);
      t.match(stdout, /Destination Host Unreachable/);
      t.ok(ms < 4_000, `${ms} ms`);
    }
  });
}
