import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';

/** Engines as their users name them. */
const FULL = { 20: '20.10', 26: '26.1', 28: '28.5' } as const;

const POOL6 = 'fd64:6472:7961::/48';

/** IPv6 beside IPv4, and alone where the engine can. */
export async function dualStack(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('six', '--ipam-driver', 'vpc', '--ipv6', '--subnet', '10.64.0.0/12', '--subnet', POOL6);
  await Promise.all([
    one.serve('first', '--network', 'six'),
    one.serve('second', '--network', 'six'),
    two.serve('third', '--network', 'six'),
  ]);
  const six = (member: typeof one, name: string) => member.address(name, 'six', 'GlobalIPv6Address');
  const [first, second, third] = await Promise.all([six(one, 'first'), six(one, 'second'), six(two, 'third')]);

  await t.test('containers and hosts reach each other over IPv6 under their own addresses', async (t) => {
    t.match(first, /^fd64:6472:7961:/);
    t.equal(await one.whoami('first', `[${second}]`), first, 'containers of one host');
    t.equal(await one.whoami('first', `[${third}]`), first, 'containers of two hosts');
    t.equal(await two.whoami('third', `[${first}]`), third, 'and back');
    t.equal(await one.whoamiFromHost(`[${first}]`), one.host.v6, 'a host its own container');
    t.equal(await two.whoamiFromHost(`[${first}]`), two.host.v6, 'a host another’s container');
    t.ok(await one.pings('first', two.host.v6), 'a container the other host');
    t.ok(await one.pings('first', one.host.v6), 'a container its own host');
  });

  await t.test('and over IPv4 as well', async (t) => {
    t.equal(await one.whoami('first', await two.address('third')), await one.address('first'));
  });

  await t.test(
    '--ip6 gives an address of the host’s own prefix; another host’s is refused with its name',
    async (t) => {
      const wanted = first.replace(/:[0-9a-f]*$/, ':77');
      await one.serve('fixed', '--network', 'six', '--ip6', wanted);
      t.equal(await six(one, 'fixed'), wanted);
      t.equal(await two.whoami('third', `[${wanted}]`), third);
      const foreign = third.replace(/:[0-9a-f]*$/, ':99');
      const outcome = await one.docker('run', '--rm', '--network', 'six', '--ip6', foreign, 'drayage/box:1', 'true');
      t.not(outcome.code, 0);
      t.match(outcome.stderr, /ADDRESS_ELSEWHERE: .*host2/);
    },
  );

  await t.test('egress over IPv6 is masqueraded towards the world', async (t) => {
    const url = `http://[${cluster.rig.world.v6}]/six-${cluster.engine}`;
    const { stdout } = await one.inside('first', 'wget', '-T', '3', '-qO-', url);
    t.equal(stdout.trim(), one.host.v6);
  });

  await t.test(
    'a network of IPv6 alone',
    { skip: cluster.engine !== '28' && `Docker ${FULL[cluster.engine]} cannot make a network without IPv4` },
    async (t) => {
      await cluster.createNetwork('only6', '--ipam-driver', 'vpc', '--ipv6', '--ipv4=false');
      await one.serve('only', '--network', 'only6');
      await two.serve('alone', '--network', 'only6');
      const [a, b] = await Promise.all([
        one.address('only', 'only6', 'GlobalIPv6Address'),
        two.address('alone', 'only6', 'GlobalIPv6Address'),
      ]);
      t.equal(await one.whoami('only', `[${b}]`), a);
      t.equal(await two.whoami('alone', `[${a}]`), b);
      t.equal(await one.address('only'), '', 'it has no IPv4 address');
    },
  );
}
