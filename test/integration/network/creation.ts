import type { Test } from 'tap';
import type { Cluster } from '../support/cluster.ts';

/** The forms of `docker network create`, and what each claims. */
export async function creation(t: Test, cluster: Cluster): Promise<void> {
  const [one, two] = [cluster.member(1), cluster.member(2)];

  await t.test(
    'without an IPAM driver, Docker’s own choice of a pool is claimed, and no other host gets it',
    async (t) => {
      await one.createNetwork('plain');
      const subnet = await one.must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'plain');
      t.equal((await one.networks()).find(({ Prefixes }) => Prefixes.includes(subnet))?.State, 'ready');
      const refused = await two.docker('network', 'create', '-d', 'vpc', 'plain');
      t.equal(refused.code, 1);
      t.match(refused.stderr, `PREFIX_OWNED: ${subnet} is owned by host host1`);
      t.match(await two.must('network', 'ls', '-q', '-f', 'driver=vpc'), /^$/, 'nothing is left of the attempt');
      await cluster.untilRouted();
      await one.serve('server', '--network', 'plain');
      t.equal(await two.whoamiFromHost(await one.address('server')), two.host.v4, 'and it is routed');
    },
  );

  await t.test('--ipam-driver vpc gives every host a free prefix of the default pool', async (t) => {
    await cluster.createNetwork('pooled', '--ipam-driver', 'vpc');
    for (const [index, member] of cluster.members.entries()) {
      await member.box('pooled', '--network', 'pooled');
      t.match(
        await member.address('pooled'),
        new RegExp(`^10\\.64\\.${index}\\.\\d+$|^10\\.64\\.${1 - index}\\.\\d+$`),
      );
      t.match((await member.networks('pooled'))[0], { Pools: ['10.64.0.0/12'], State: 'ready' });
    }
    t.not(prefixOf(await one.address('pooled')), prefixOf(await two.address('pooled')), 'each its own');
  });

  await t.test(
    'a network of the same pool can be made while containers and other hosts’ routes are there',
    async (t) => {
      // Engines before 28 compare a pool that no --subnet names with the host's routes.
      const before = (await one.networks()).length;
      await cluster.createNetwork('late', '--ipam-driver', 'vpc');
      t.equal((await one.networks()).length, before + 1);
      await one.box('late', '--network', 'late');
      t.ok(await one.pings('late', await two.address('pooled')));
    },
  );

  await t.test('--ipam-opt names pool and prefix length', async (t) => {
    const options = ['--ipam-opt', 'pool=10.80.0.0/12', '--ipam-opt', 'prefix=25'];
    await cluster.createNetwork('db', '--ipam-driver', 'vpc', ...options);
    const prefixes = await Promise.all(
      cluster.members.map(async (member) => (await member.networks('db'))[0]?.Prefixes ?? []),
    );
    t.same(prefixes.flat().sort(), ['10.80.0.0/25', '10.80.0.128/25']);
    await one.box('db', '--network', 'db');
    await two.box('db', '--network', 'db');
    t.ok(await one.pings('db', await two.address('db')));
  });

  await t.test('--subnet with options of the driver', async (t) => {
    await one.createNetwork(
      'batch',
      '--subnet',
      '10.64.103.0/24',
      '-o',
      'mtu=8950',
      '-o',
      'masquerade=off',
      '-o',
      'ingress=pool',
    );
    t.match((await one.networks('batch'))[0], {
      Prefixes: ['10.64.103.0/24'],
      Pools: ['10.64.0.0/12'],
      Masquerade: 'off',
      Ingress: 'pool',
    });
    await one.box('batch', '--network', 'batch');
    t.match(await one.address('batch'), /^10\.64\.103\./);
    t.equal((await one.inside('batch', 'cat', '/sys/class/net/eth0/mtu')).stdout, '8950\n');
    const refused = await two.docker('network', 'create', '-d', 'vpc', '--subnet', '10.64.103.128/25', 'batch');
    t.match(refused, {
      code: 1,
      stderr: /PREFIX_OWNED: 10\.64\.103\.128\/25 is owned by host host1, which holds 10\.64\.103\.0\/24/,
    });
  });

  await t.test('--gateway, --ip-range and --aux-address are kept to, with Docker’s IPAM and with ours', async (t) => {
    const plan = (net: string, size: string): string[] => [
      ...['--ip-range', `${net}.128/${size}`, '--gateway', `${net}.129`, '--aux-address', `printer=${net}.130`],
    ];
    await one.createNetwork('docks', '--subnet', '10.64.120.0/24', ...plan('10.64.120', '28'));
    await one.createNetwork('ours', '--ipam-driver', 'vpc', '--subnet', '10.64.0.0/12', ...plan('10.64.121', '28'));
    for (const [network, net] of [
      ['docks', '10.64.120'],
      ['ours', '10.64.121'],
    ] as const) {
      await Promise.all(['x', 'y', 'z'].map((name) => one.box(`${network}-${name}`, '--network', network)));
      const given = await Promise.all(['x', 'y', 'z'].map((name) => one.address(`${network}-${name}`)));
      for (const address of given) {
        const last = Number(address.split('.')[3]);
        t.equal(address, `${net}.${last}`);
        t.ok(last >= 128 && last <= 143, 'in the range');
        t.notOk(last === 129 || last === 130, 'neither the gateway nor the kept one');
      }
      t.equal(new Set(given).size, 3);
      t.equal(await one.must('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Gateway}}', network), `${net}.129`);
      t.ok(await one.pings(`${network}-x`, given[1] ?? ''));
    }
  });
}

const prefixOf = (address: string): string => address.replace(/\.\d+$/, '');
