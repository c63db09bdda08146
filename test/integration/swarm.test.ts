// @timeout 4m
// The README's commands for a Swarm of two nodes: a network that every node makes for itself out of a configuration of
// its own, and a service whose tasks find and reach each other across hosts.
import t, { type Test } from 'tap';
import { until } from '../rig/command.ts';
import type { EngineVersion } from '../rig/packages.ts';
import { Cluster } from './support/cluster.ts';
import { IMAGE, type Member } from './support/member.ts';

t.setTimeout(240_000);

const DRIVER = 'drayage/network:latest';
const TASK_MS = 60_000;

for (const engine of ['28', '26'] as const) {
  t.test(`a service on two nodes with engine ${engine}`, async (t) => await service(t, engine));
}

async function service(t: Test, engine: EngineVersion): Promise<void> {
  const cluster = await Cluster.for(t, { engine });
  const [manager, worker] = [cluster.member(1), cluster.member(2)];
  await join(manager, worker);
  for (const member of cluster.members) {
    await member.must('network', 'create', '--config-only', '--ipam-driver', 'vpc', 'web-config');
  }
  await manager.must('network', 'create', '--scope', 'swarm', '-d', DRIVER, '--config-from', 'web-config', 'web');
  await serve(manager, 'web', ['--replicas', '2', '--replicas-max-per-node', '1'], ['httpd', '-f', '-h', '/www']);
  await serve(manager, 'client', ['--mode', 'global'], ['sleep', 'infinity']);
  const clients = await Promise.all(cluster.members.map((member) => untilTask(member, 'client')));
  const servers = await Promise.all(cluster.members.map((member) => untilTask(member, 'web')));
  await cluster.untilRouted();
  const addresses = await Promise.all(
    cluster.members.map((member, index) => member.address(servers[index] ?? '', 'web')),
  );

  await t.test('each node has a prefix of its own in the pool', async (t) => {
    const prefixes = await Promise.all(cluster.members.map((member) => member.networks()));
    t.match(prefixes, [[{ Prefixes: [/^10\.64\./] }], [{ Prefixes: [/^10\.64\./] }]]);
    t.not(prefixes[0]?.[0]?.Prefixes[0], prefixes[1]?.[0]?.Prefixes[0]);
    t.not(addresses[0], addresses[1]);
  });

  await t.test('on both nodes the name stands for both tasks, which see each other’s own addresses', async (t) => {
    for (const [index, member] of cluster.members.entries()) {
      const client = clients[index] ?? '';
      await until(`both tasks in the name on ${member.name}`, async () => {
        const found = await resolved(member, client, 'web');
        return addresses.every((address) => found.includes(address));
      });
      await member.untilServes(servers[index] ?? '');
    }
    for (const [index, member] of cluster.members.entries()) {
      const client = clients[index] ?? '';
      const own = await member.address(client, 'web');
      for (const address of addresses) t.equal(await member.whoami(client, address), own, `${own} reaches ${address}`);
    }
  });

  await t.test('with one task left the name leads across hosts to it', async (t) => {
    await manager.must('service', 'scale', '--detach', 'web=1');
    await until('the end of one task', async () => (await running(cluster, 'web')).length === 1, {
      timeoutMs: TASK_MS,
    });
    const [home] = await running(cluster, 'web');
    const away = cluster.members.find((member) => member !== home);
    if (home === undefined || away === undefined) throw new Error('no task is left');
    const client = clients[cluster.members.indexOf(away)] ?? '';
    const left = addresses[cluster.members.indexOf(home)] ?? '';
    await until('the other one in the name alone', async () => {
      return (await resolved(away, client, 'web')).join() === left;
    });
    t.equal(await away.whoami(client, 'web'), await away.address(client, 'web'), `${away.name} asks by name`);
  });

  await t.test('when services and networks are removed nothing is left on any node', async (t) => {
    await manager.must('service', 'rm', 'web', 'client');
    const none = async (): Promise<boolean> => {
      const left = await Promise.all(cluster.members.map((member) => member.must('ps', '-aq')));
      return left.every((ids) => ids === '');
    };
    await until('the end of all tasks', none, { timeoutMs: TASK_MS });
    await manager.must('network', 'rm', 'web');
    for (const member of cluster.members) await member.must('network', 'rm', 'web-config');
    await worker.must('swarm', 'leave');
    await manager.must('swarm', 'leave', '--force');
    t.same(await cluster.leftoversInTheEnd(), []);
  });
}

async function join(manager: Member, worker: Member): Promise<void> {
  await manager.must('swarm', 'init', '--advertise-addr', manager.host.v4);
  const token = await manager.must('swarm', 'join-token', '-q', 'worker');
  const own = ['--advertise-addr', worker.host.v4];
  await worker.must('swarm', 'join', '--token', token, ...own, `${manager.host.v4}:2377`);
}

/** Images are on the nodes already: no registry is asked for them. */
async function serve(manager: Member, name: string, mode: readonly string[], argv: readonly string[]): Promise<void> {
  const options = ['--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '0s'];
  await manager.must('service', 'create', '--name', name, '--network', 'web', ...options, ...mode, IMAGE, ...argv);
}

/** The container of a service on a node; '' when none runs. */
async function task(member: Member, service: string): Promise<string> {
  return await member.must('ps', '-q', '-f', `label=com.docker.swarm.service.name=${service}`);
}

async function untilTask(member: Member, service: string): Promise<string> {
  const found = await until(
    `a task of ${service} on ${member.name}`,
    async () => (await task(member, service)) || undefined,
    {
      timeoutMs: TASK_MS,
    },
  );
  return found;
}

async function running(cluster: Cluster, service: string): Promise<readonly Member[]> {
  const ids = await Promise.all(cluster.members.map((member) => task(member, service)));
  return cluster.members.filter((_, index) => ids[index] !== '');
}

/** Addresses that a name has inside a container, in order. */
async function resolved(member: Member, container: string, name: string): Promise<readonly string[]> {
  const { stdout } = await member.inside(container, 'nslookup', '-type=a', name, '127.0.0.11');
  const answer = stdout.slice(stdout.indexOf('Name:'));
  return [...answer.matchAll(/^Address(?: \d+)?: (\S+)/gm)].map(([, address]) => address ?? '').sort();
}
