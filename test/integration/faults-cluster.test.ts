// @timeout 5m
// Two hosts and what they must not do to each other: own one prefix, empty a pool without saying so, bear one name, or
// see another cluster's networks in the same etcd. Host 2, to which most is refused, has the oldest engine.
import t, { type Test } from 'tap';
import { until } from '../rig/command.ts';
import type { Etcd } from '../rig/etcd.ts';
import { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';
import { refused } from './support/refusal.ts';

t.setTimeout(300_000);

const VPC = ['--ipam-driver', 'vpc'];

/** `docker network create -d vpc …`, which is expected to fail. */
const create = (on: Member, ...args: string[]) => on.docker('network', 'create', '-d', 'vpc', ...args, 'refused');

t.test('two hosts at one etcd', async (t) => {
  const cluster = await Cluster.for(t, {
    engine: ['28', '20'],
    env: { ETCD_LEASE: '5s' },
  });
  const { etcd } = cluster;
  if (etcd === undefined) throw new Error('this cluster has no etcd');
  // With a subnet of the user's, Docker lets --ip name any address of the pool.
  await cluster.createNetwork('web', ...VPC, '--subnet', '10.64.0.0/12');

  await owned(t, cluster, etcd);
  await elsewhere(t, cluster);
  await exhausted(t, cluster, etcd);
  await covered(t, cluster, etcd);
  await cluster.removeNetwork('web');
  await sameName(t, cluster, etcd);
  await twoClusters(t, cluster, etcd, { ETCD_PREFIX: '/other' }, '/other/default/');
  await twoClusters(t, cluster, etcd, { CLUSTER: 'blue' }, '/drayage/blue/');

  await t.test('in the end nothing is left over', async (t) => {
    t.same(await cluster.leftoversInTheEnd(), []);
    for (const { plugin } of cluster.members) t.notMatch(plugin.log().join('\n'), /INTERNAL/);
  });
});

/** Everything in etcd below a key, without leases. */
async function keys(etcd: Etcd, below: string): Promise<string[]> {
  return (await etcd.list(below)).map(({ key, value }) => `${key} ${value}`);
}

/** Runs `work` and asserts that neither the claims in etcd nor what the hosts hold has changed. */
async function changesNothing(t: Test, cluster: Cluster, etcd: Etcd, work: () => Promise<void>): Promise<void> {
  const before = [await keys(etcd, '/drayage/default/routes/'), await cluster.leftovers()];
  await work();
  t.same([await keys(etcd, '/drayage/default/routes/'), await cluster.leftovers()], before, 'nothing was changed');
}

async function owned(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test('a prefix of another host is refused with its name; nothing is stolen', async (t) => {
    const [one, two] = [cluster.member(1), cluster.member(2)];
    await one.createNetwork('mine', ...VPC, '--subnet', '10.64.9.0/24');
    await cluster.untilRouted();
    await changesNothing(t, cluster, etcd, async () => {
      for (const ipam of [VPC, []]) {
        refused(
          t,
          await create(two, ...ipam, '--subnet', '10.64.9.0/24'),
          'PREFIX_OWNED',
          '10.64.9.0/24 is owned by host host1.',
        );
        const inside = await create(two, ...ipam, '--subnet', '10.64.9.128/25');
        refused(t, inside, 'PREFIX_OWNED', '10.64.9.128/25 is owned by host host1, which holds 10.64.9.0/24');
      }
      // As Docker's own pool it is one prefix; as ours, a free one would be drawn from it.
      const around = await create(two, '--subnet', '10.64.8.0/23');
      refused(t, around, 'PREFIX_OWNED', '10.64.8.0/23 is owned by host host1, which holds 10.64.9.0/24');
    });
    await one.must('network', 'rm', 'mine');
    await two.createNetwork('mine', ...VPC, '--subnet', '10.64.9.0/24');
    await two.must('network', 'rm', 'mine');
  });

  await t.test(
    'two hosts that ask for one prefix at the same moment: one gets it, the other is told who',
    async (t) => {
      const outcomes = await Promise.all(
        cluster.members.map((member) =>
          member.docker('network', 'create', '-d', 'vpc', ...VPC, '--subnet', '10.64.10.0/24', 'race'),
        ),
      );
      const winner = outcomes.findIndex(({ code }) => code === 0);
      const loser = outcomes[1 - winner];
      t.equal(outcomes.filter(({ code }) => code === 0).length, 1);
      if (loser !== undefined) refused(t, loser, 'PREFIX_OWNED', `owned by host host${winner + 1}`);
      await cluster.members[winner]?.must('network', 'rm', 'race');
    },
  );
}

async function elsewhere(t: Test, cluster: Cluster): Promise<void> {
  await t.test("an address of another host's prefix is refused with that host's name", async (t) => {
    const [one, two] = [cluster.member(1), cluster.member(2)];
    await one.box('there', '--network', 'web');
    const address = await one.address('there');
    const before = await cluster.leftovers();
    const outcome = await two.docker(
      'run',
      '--rm',
      '--name',
      'refused',
      '--network',
      'web',
      '--ip',
      address,
      IMAGE,
      'true',
    );
    refused(t, outcome, 'ADDRESS_ELSEWHERE', address, 'host host1', 'start the container on host1');
    t.same(await cluster.leftovers(), before);
    t.ok(await two.pings(undefined, address), 'who has the address still answers');
    await one.remove('there');
  });
}

async function exhausted(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'a pool whose prefixes are all held by hosts says so, and gives the next one when there is one',
    async (t) => {
      const [one, two] = [cluster.member(1), cluster.member(2)];
      const small = [...VPC, '--ipam-opt', 'pool=10.82.0.0/23', '--ipam-opt', 'prefix=24'];
      await one.createNetwork('small', ...small);
      await two.createNetwork('small', ...small);
      await cluster.untilRouted();
      await changesNothing(t, cluster, etcd, async () => {
        for (const on of [one, two]) {
          refused(t, await create(on, ...small), 'POOL_EXHAUSTED', '10.82.0.0/23', 'room for 2; 2 are held by hosts');
        }
      });
      await one.must('network', 'rm', 'small');
      await two.createNetwork('second', ...small);
      t.match(
        (await keys(etcd, '/drayage/default/routes/10.82')).join('\n'),
        /10\.82\.0\.0.*host2[\s\S]*10\.82\.1\.0.*host2/,
      );
      await two.must('network', 'rm', 'small', 'second');
    },
  );
}

async function covered(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test("a subnet that covers the hosts' addresses is refused on every host", async (t) => {
    await changesNothing(t, cluster, etcd, async () => {
      for (const on of cluster.members) {
        for (const subnet of ['10.250.0.0/24', '10.240.0.0/12', '10.250.0.12/30']) {
          refused(t, await create(on, '--subnet', subnet), 'PREFIX_IS_LOCAL', '10.250.0.');
        }
      }
    });
  });
}

/** Disables the plugin, sets something and enables it again. */
async function reset(member: Member, env: Readonly<Record<string, string>>): Promise<void> {
  await member.plugin.disable();
  await member.plugin.set(env);
  await member.plugin.enable();
}

async function sameName(t: Test, cluster: Cluster, etcd: Etcd): Promise<void> {
  await t.test(
    'a host that bears the name of another one is refused, and the other one is not disturbed',
    async (t) => {
      const [one, two] = [cluster.member(1), cluster.member(2)];
      await one.createNetwork('web', ...VPC);
      await reset(two, { NODE_NAME: 'host1' });
      const before = await keys(etcd, '/drayage/default/routes/');
      for (const ipam of [VPC, ['--subnet', '10.64.30.0/24']]) {
        const outcome = await create(two, ...ipam);
        refused(t, outcome, 'NODE_NAME_TAKEN', 'host1', '10.250.0.11', 'NODE_NAME=');
      }
      t.match((await two.drayage('status')).out, /reachable: +no[\s\S]*NODE_NAME_TAKEN/);
      t.same(await keys(etcd, '/drayage/default/routes/'), before);
      t.match((await one.drayage('status')).out, /reachable: +yes/);
      await reset(two, { NODE_NAME: '' });
      await two.createNetwork('web', ...VPC);
      await cluster.removeNetwork('web');
    },
  );
}

async function twoClusters(
  t: Test,
  cluster: Cluster,
  etcd: Etcd,
  env: Record<string, string>,
  where: string,
): Promise<void> {
  const [setting = '', value = ''] = Object.entries(env)[0] ?? [];
  await t.test(
    `hosts with different ${setting} are two clusters: they share prefixes and do not see each other`,
    async (t) => {
      const [one, two] = [cluster.member(1), cluster.member(2)];
      await reset(two, env);
      await one.createNetwork('web', ...VPC);
      await two.createNetwork('web', ...VPC);
      t.match(await keys(etcd, '/drayage/default/routes/'), [/10\.64\.0\.0.*host1/]);
      t.match(await keys(etcd, `${where}routes/`), [/10\.64\.0\.0.*host2/]);
      t.notMatch((await one.drayage('routes')).out, /host2/);
      t.notMatch((await two.drayage('routes')).out, /host1/);
      await two.must('network', 'rm', 'web');
      await until('the end of that claim', async () => (await keys(etcd, `${where}routes/`)).length === 0);
      t.equal((await keys(etcd, '/drayage/default/routes/')).length, 1, "the other cluster's claim stays");
      await one.must('network', 'rm', 'web');
      await reset(two, { [setting]: setting === 'CLUSTER' ? 'default' : '/drayage' });
      await until('nothing left of that cluster', async () => (await keys(etcd, where)).length === 0, {
        timeoutMs: 15_000,
      });
      t.not(value, '');
    },
  );
}
