import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';

/** IPv4 and ICMP headers. */
const HEADERS = 28;

/** Sizes of packets. The cluster's uplinks have 9000 bytes. */
export async function mtu(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('wide', '--ipam-driver', 'vpc');
  await one.createNetwork('narrow', '--ipam-driver', 'vpc', '-o', 'mtu=1400');
  await cluster.untilRouted();
  await Promise.all([
    one.box('wide', '--network', 'wide'),
    two.box('wide', '--network', 'wide'),
    one.box('narrow', '--network', 'narrow'),
  ]);
  const [here, there, narrow] = await Promise.all([one.address('wide'), two.address('wide'), one.address('narrow')]);
  const dontFragment = (to: string, size: number): string[] => [
    ...['ping', '-M', 'do', '-c', '2', '-i', '0.2', '-W', '1', '-s', String(size - HEADERS), to],
  ];

  await t.test(
    'without an option it is the uplink’s: a packet of that size passes between hosts, a larger one does not',
    async (t) => {
      t.equal((await one.inside('wide', 'cat', '/sys/class/net/eth0/mtu')).stdout, '9000\n');
      t.equal((await one.hostNamespaceOf('wide', dontFragment(there, 9000))).code, 0);
      t.equal((await two.hostNamespaceOf('wide', dontFragment(here, 9000))).code, 0);
      const larger = await one.hostNamespaceOf('wide', dontFragment(there, 9001));
      t.not(larger.code, 0);
      t.match(larger.stdout + larger.stderr, /message too long/i);
    },
  );

  await t.test('with -o mtu it is that, and senders are told', async (t) => {
    t.equal((await one.inside('narrow', 'cat', '/sys/class/net/eth0/mtu')).stdout, '1400\n');
    t.equal((await two.hostNamespaceOf('wide', dontFragment(narrow, 1400))).code, 0);
    const larger = await two.hostNamespaceOf('wide', dontFragment(narrow, 1401));
    t.not(larger.code, 0);
    t.match(larger.stdout + larger.stderr, /mtu ?= ?1400/);
    t.ok((await one.hostNamespaceOf('narrow', dontFragment(there, 1400))).code === 0);
    t.not((await one.hostNamespaceOf('narrow', dontFragment(there, 1401))).code, 0);
  });
}
