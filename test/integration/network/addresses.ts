import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';
import { IMAGE } from '../support/member.ts';

/** Addresses that users name: `--ip`, `--mac-address`. */
export async function addresses(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];
  await cluster.createNetwork('web', '--ipam-driver', 'vpc', '--subnet', '10.64.0.0/12');
  const prefixes = await Promise.all(cluster.members.map(async (m) => (await m.networks('web'))[0]?.Prefixes[0] ?? ''));
  const [mine = '', theirs = ''] = prefixes.map((prefix) => prefix.replace(/\.0\/24$/, ''));

  await t.test('--ip gives an address of the host’s own prefix', async (t) => {
    await one.serve('fixed', '--network', 'web', '--ip', `${mine}.77`);
    t.equal(await one.address('fixed'), `${mine}.77`);
    t.equal(await two.whoamiFromHost(`${mine}.77`), two.host.v4);
  });

  await t.test('--ip of another host’s prefix is refused with that host’s name', async (t) => {
    const outcome = await one.docker('run', '--rm', '--network', 'web', '--ip', `${theirs}.9`, IMAGE, 'true');
    t.not(outcome.code, 0);
    t.match(outcome.stderr, new RegExp(`ADDRESS_ELSEWHERE: .*${theirs}\\.9.*host2`));
  });

  await t.test('--ip of an address in use is refused', async (t) => {
    const outcome = await one.docker('run', '--rm', '--network', 'web', '--ip', `${mine}.77`, IMAGE, 'true');
    t.not(outcome.code, 0);
    t.match(outcome.stderr, new RegExp(`ADDRESS_IN_USE: .*${mine}\\.77`));
  });

  await t.test('--ip of the gateway is refused', async (t) => {
    const outcome = await one.docker('run', '--rm', '--network', 'web', '--ip', `${mine}.1`, IMAGE, 'true');
    t.not(outcome.code, 0);
    t.match(outcome.stderr, /ADDRESS_IN_USE/);
  });

  await t.test('--ip in the pool, of no host’s prefix, is reached where its container runs', async (t) => {
    await one.serve('roamer', '--network', 'web', '--ip', '10.79.250.9');
    await cluster.untilRouted();
    t.equal(await two.whoamiFromHost('10.79.250.9'), two.host.v4);
    await one.remove('roamer');
  });

  await t.test('an address asked for by name is free again as soon as its container is gone', async (t) => {
    await one.remove('fixed');
    await one.serve('fixed', '--network', 'web', '--ip', `${mine}.77`);
    t.equal(await two.whoamiFromHost(`${mine}.77`), two.host.v4);
  });

  await t.test('Docker itself refuses --ip where no --subnet was given', async (t) => {
    await one.createNetwork('unnamed', '--ipam-driver', 'vpc');
    const [prefix = ''] = (await one.networks('unnamed'))[0]?.Prefixes ?? [];
    const address = prefix.replace(/0\/24$/, '50');
    const outcome = await one.docker('run', '--rm', '--network', 'unnamed', '--ip', address, IMAGE, 'true');
    t.not(outcome.code, 0);
    t.match(outcome.stderr, /user configured subnets/);
  });

  await t.test('--mac-address is kept', async (t) => {
    const mac = ['--network', 'web', '--mac-address', '02:11:22:33:44:55'];
    if (cluster.engine === '20') {
      // With the engine's own client: new ones cannot say it to an engine before 25.
      const own = ['docker', '-H', `unix://${one.host.engine.socket}`, 'run', '-d', '--init', '--name', 'marked'];
      await one.host.must([...own, ...mac, IMAGE, 'httpd', '-f', '-h', '/www']);
    } else {
      await one.serve('marked', ...mac);
    }
    t.equal((await one.inside('marked', 'cat', '/sys/class/net/eth0/address')).stdout, '02:11:22:33:44:55\n');
    t.equal(await two.whoamiFromHost(await one.address('marked')), two.host.v4);
  });

  await t.test('without it the MAC address follows from the IP address', async (t) => {
    const expected = `02:42:${(await one.address('fixed')).split('.').map(hex).join(':')}`;
    t.equal((await one.inside('fixed', 'cat', '/sys/class/net/eth0/address')).stdout.trim(), expected);
  });
}

const hex = (byte: string): string => Number(byte).toString(16).padStart(2, '0');
