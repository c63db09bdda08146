/**
 * A host with containers in namespaces of their own: the host's links and routes are as the data path makes them, so
 * that only the firewall is under test. The calling process moves into the host's namespace and stays there.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { openNetns } from '../../../../shared/kernel/netns.ts';
import { setNamespace } from '../../../../shared/kernel/syscalls.ts';
import type { Command, Reply } from './agent.ts';

const CLONE_NEWNET = 0x40000000;
const PREFIX = `drt${process.pid}`;

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

const namespaces = (): string[] => {
  try {
    return readdirSync('/run/netns');
  } catch {
    return [];
  }
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Namespaces of tests that were killed. */
const sweep = (): void => {
  for (const name of namespaces()) {
    const pid = /^drt(\d+)x/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) ip('netns', 'delete', name);
  }
};

export class Agent {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly ready: Promise<void>;
  #id = 0;

  constructor(name: string, namespace: string) {
    const agent = new URL('agent.ts', import.meta.url).pathname;
    this.#process = spawn('nsenter', [`--net=/run/netns/${namespace}`, process.execPath, agent, name], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#waiting.set(0, () => resolve());
    this.#process.on('message', ({ id, reply }: { id: number; reply: Reply }) => this.#waiting.get(id)?.(reply));
  }

  send(command: Command): Promise<Reply> {
    this.#id += 1;
    const id = this.#id;
    return new Promise((resolve) => {
      this.#waiting.set(id, (reply) => {
        this.#waiting.delete(id);
        resolve(reply);
      });
      this.#process.send({ id, command });
    });
  }

  async listen(protocol: 'tcp' | 'udp', address: string, port: number): Promise<void> {
    const reply = await this.send({ op: 'listen', protocol, address, port });
    if ('error' in reply) throw new Error(`cannot listen on ${address} ${port}: ${reply.error}`);
  }

  /** "name seen-address", or an error code. */
  async ask(protocol: 'tcp' | 'udp', to: string, port: number, from?: string, timeoutMs = 400): Promise<string> {
    const reply = await this.send({
      op: 'ask',
      protocol,
      to,
      port,
      timeoutMs,
      ...(from === undefined ? {} : { from }),
    });
    return 'error' in reply ? reply.error : reply.answer;
  }

  async open(protocol: 'tcp' | 'udp', to: string, port: number, from?: string): Promise<number> {
    const reply = await this.send({
      op: 'open',
      protocol,
      to,
      port,
      timeoutMs: 2000,
      ...(from === undefined ? {} : { from }),
    });
    if ('error' in reply) throw new Error(`cannot open ${to} ${port}: ${reply.error}`);
    return reply.handle;
  }

  async say(handle: number, timeoutMs = 600): Promise<string> {
    const reply = await this.send({ op: 'say', handle, timeoutMs });
    return 'error' in reply ? reply.error : reply.answer;
  }

  stop(): void {
    this.#process.kill('SIGKILL');
  }
}

export interface ContainerSpec {
  readonly name: string;
  readonly address: string;
  readonly address6: string;
}

/** Addresses of the world outside, all in one namespace behind the host's uplink. */
export const HOST = { 4: '10.0.0.1', 6: 'fd00:a::1' } as const;
export const OUTSIDE = {
  /** In the VPC. */
  vpc: { 4: '10.0.0.2', 6: 'fd00:a::2' },
  /** On the Internet. */
  world: { 4: '198.51.100.7', 6: '2001:db8::7' },
  /** The cloud's metadata service. */
  metadata: { 4: '169.254.169.254', 6: 'fd00:ec2::254' },
  /** The same at Alibaba Cloud, and what else there is near it. */
  vendor: { 4: '100.100.100.200', 6: 'fd00:ec2::253' },
  /** A container of the first pool on another host. */
  peer: { 4: '10.64.9.9', 6: 'fd64:6472:7961:9::9' },
  /** A container of the second pool on another host. */
  stranger: { 4: '10.80.9.9', 6: 'fd80::9:9' },
} as const;

export interface Lab {
  readonly outside: Agent;
  readonly host: Agent;
  readonly containers: Readonly<Record<string, Agent>>;
  /** Adds an address to the host's uplink. */
  run(program: string, ...args: string[]): string;
  close(): void;
}

const sysctl = (path: string, value: string): void => writeFileSync(`/proc/sys/net/${path}`, value);

/** Makes the namespaces and links, and moves this process into the host's namespace. Needs root. */
export const openLab = async (specs: readonly ContainerSpec[]): Promise<Lab> => {
  sweep();
  const agents: Agent[] = [];
  const made: string[] = [];
  const make = (name: string): string => {
    const full = `${PREFIX}x${name}`;
    ip('netns', 'add', full);
    made.push(full);
    // No duplicate address detection: it would keep links from speaking IPv6 for a second or two.
    execFileSync('nsenter', [`--net=/run/netns/${full}`, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']);
    ip('-n', full, 'link', 'set', 'lo', 'up');
    return full;
  };
  const close = (): void => {
    for (const agent of agents) agent.stop();
    for (const name of made) ip('netns', 'delete', name);
    made.length = 0;
  };
  process.once('exit', close);
  const host = make('host');
  setNamespace(openNetns(`/run/netns/${host}`).fd, CLONE_NEWNET);
  sysctl('ipv4/ip_forward', '1');
  sysctl('ipv6/conf/all/forwarding', '1');
  sysctl('ipv4/conf/default/route_localnet', '1');
  sysctl('ipv4/conf/default/rp_filter', '0');
  const outside = make('out');
  ip('-n', host, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', outside);
  sysctl('ipv4/conf/eth0/route_localnet', '0');
  const address = (ns: string, link: string, cidr: string): void => {
    ip('-n', ns, 'address', 'add', cidr, 'dev', link, ...(cidr.includes(':') ? ['nodad'] : []));
  };
  const up = (ns: string, link: string): void => void ip('-n', ns, 'link', 'set', link, 'up');
  for (const [ns, own] of [
    [host, HOST],
    [outside, OUTSIDE.vpc],
  ] as const) {
    address(ns, 'eth0', `${own[4]}/24`);
    address(ns, 'eth0', `${own[6]}/64`);
    up(ns, 'eth0');
  }
  for (const where of [OUTSIDE.world, OUTSIDE.metadata, OUTSIDE.vendor, OUTSIDE.peer, OUTSIDE.stranger]) {
    address(outside, 'lo', `${where[4]}/32`);
    address(outside, 'lo', `${where[6]}/128`);
  }
  ip('-n', host, 'route', 'add', 'default', 'via', OUTSIDE.vpc[4]);
  ip('-n', host, '-6', 'route', 'add', 'default', 'via', OUTSIDE.vpc[6]);
  ip('-n', outside, 'route', 'add', 'default', 'via', HOST[4]);
  ip('-n', outside, '-6', 'route', 'add', 'default', 'via', HOST[6]);
  const containers: Record<string, Agent> = {};
  for (const { name, address: four, address6: six } of specs) {
    const ns = make(name);
    const link = `dry${name}`;
    ip('-n', host, 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns);
    ip('-n', host, 'address', 'add', '169.254.1.1/32', 'dev', link, 'scope', 'link');
    address(host, link, 'fe80::1/64');
    up(host, link);
    address(ns, 'eth0', `${four}/32`);
    address(ns, 'eth0', `${six}/128`);
    up(ns, 'eth0');
    ip('-n', host, 'route', 'add', `${four}/32`, 'dev', link, 'src', HOST[4]);
    ip('-n', host, '-6', 'route', 'add', `${six}/128`, 'dev', link, 'src', HOST[6]);
    ip('-n', ns, 'route', 'add', '169.254.1.1', 'dev', 'eth0');
    ip('-n', ns, 'route', 'add', 'default', 'via', '169.254.1.1');
    ip('-n', ns, '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'eth0');
    containers[name] = new Agent(name, ns);
  }
  const lab: Lab = {
    outside: new Agent('outside', outside),
    host: new Agent('host', host),
    containers,
    run: (program, ...args) => execFileSync(program, args, { encoding: 'utf8' }),
    close,
  };
  agents.push(lab.outside, lab.host, ...Object.values(containers));
  await Promise.all(agents.map((agent) => agent.ready));
  return lab;
};
