/** The four ways from one host to the other that are compared: each a pair of network namespaces. */
import type { Cluster } from '../integration/support/cluster.ts';
import type { Member } from '../integration/support/member.ts';
import type { RunOptions } from '../rig/command.ts';

export const PATHS = ['host', 'overlay', 'bridge', 'ptp'] as const;
export type PathName = (typeof PATHS)[number];

/** One end of a path: a host, or the network namespace of a container on it. */
export interface End {
  readonly member: Member;
  readonly address: string;
  /** Puts a program into the end's network namespace; it keeps the host's files. */
  readonly enter: readonly string[];
}

/** From `client` to `server`. */
export interface Path {
  readonly name: PathName;
  readonly client: End;
  readonly server: End;
}

/** Runs a program at an end; resolves with what it printed. @throws CommandError */
export async function runAt(end: End, argv: readonly string[], options: RunOptions = {}): Promise<string> {
  return await end.member.host.must([...end.enter, ...argv], options);
}

/** Starts a program at an end that goes on until the rig goes down. */
export async function startAt(
  end: End,
  argv: readonly string[],
  log: string,
  env: NodeJS.ProcessEnv = {},
): Promise<number> {
  return await end.member.host.machine.spawn([...end.enter, ...argv], log, env);
}

/** Sets all paths up between the cluster's hosts 1 and 2. */
export async function preparePaths(cluster: Cluster): Promise<Path[]> {
  const [from, to] = [cluster.member(1), cluster.member(2)];
  const onHost = (member: Member): End => ({ member, address: member.host.v4, enter: [] });
  const paths: Path[] = [{ name: 'host', client: onHost(from), server: onHost(to) }];
  for (const [name, prepare] of [
    ['overlay', prepareOverlay],
    ['ptp', preparePtp],
    ['bridge', prepareBridge],
  ] as const) {
    await prepare(cluster);
    paths.push({ name, client: await inContainer(from, name), server: await inContainer(to, name) });
  }
  return paths;
}

/** `bridge` is the name of a network that every engine has. */
const networkName = (path: PathName): string => `bench-${path}`;

async function inContainer(member: Member, network: PathName): Promise<End> {
  await member.box(network, '--network', networkName(network));
  const pid = await member.must('inspect', '-f', '{{.State.Pid}}', network);
  const address = await member.address(network, networkName(network));
  return { member, address, enter: ['nsenter', '-t', pid, '-n', '--'] };
}

/** Docker's own answer: VXLAN between the nodes of a Swarm. */
async function prepareOverlay(cluster: Cluster): Promise<void> {
  const [manager, worker] = [cluster.member(1), cluster.member(2)];
  await manager.must('swarm', 'init', '--advertise-addr', manager.host.v4);
  const token = await manager.must('swarm', 'join-token', '-q', 'worker');
  await worker.must('swarm', 'join', '--token', token, `${manager.host.v4}:2377`);
  await manager.must('network', 'create', '-d', 'overlay', '--attachable', networkName('overlay'));
}

/** Docker's bridge with a subnet for each host, no masquerading, and routes to them set by hand. */
async function prepareBridge(cluster: Cluster): Promise<void> {
  const key = 'com.docker.network.bridge';
  const options = ['-o', `${key}.enable_ip_masquerade=false`, '-o', `${key}.gateway_mode_ipv4=nat-unprotected`];
  for (const member of cluster.members) {
    const subnet = `172.30.${member.host.number}.0/24`;
    await member.must('network', 'create', '-d', 'bridge', '--subnet', subnet, ...options, networkName('bridge'));
    await cluster.rig.router.addRoute(subnet, member.host.number);
  }
}

/** The network plugin. */
async function preparePtp(cluster: Cluster): Promise<void> {
  await cluster.createNetwork(networkName('ptp'), '--ipam-driver', 'vpc');
}
