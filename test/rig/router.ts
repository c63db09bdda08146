/**
 * The network between the hosts, in a machine of its own.
 *
 * `vpc`: every host has its own veth to the router and the router alone decides: it answers ARP and NDP for the other
 * hosts, and forwards what its table names. A packet for a prefix with no route is dropped without a word and counted,
 * as in a VPC, so a pass here shows that the routes are right.
 * `switch`: the hosts are on one Ethernet segment, as in a rack; the router is only their way out.
 */
import {
  ETCD_ADDRESS,
  GATEWAY4,
  GATEWAY6,
  HOSTS4,
  HOSTS6,
  hostAddresses,
  OFFICE4,
  WORLD_GATEWAY4,
  WORLD_GATEWAY6,
  WORLD4,
} from './addresses.ts';
import { until } from './command.ts';
import type { Machine } from './machine.ts';

export type Fabric = 'vpc' | 'switch';

/** A route of the router's table that was claimed for a host. */
export interface RouterRoute {
  /** IPv4 or IPv6 prefix, such as 10.64.3.0/24. */
  readonly prefix: string;
  /** Host number, counted from 1. */
  readonly host: number;
}

/** Protocol numbers in the router's kernel table: routes that a test set, and routes mirrored from etcd. */
export const SET_BY_TEST = 70;
export const MIRRORED = 71;

/** One rule set for both fabrics. `fib … missing`: no route; multicast and link-local are the neighbours' own talk. */
const RULES = `
table inet fabric {
  set cut { type ifname; }
  set etcdcut { type ipv4_addr; }
  chain in {
    type filter hook prerouting priority -300;
    iifname @cut counter drop
    ip saddr @etcdcut ip daddr ${ETCD_ADDRESS} counter drop
    ip daddr { 224.0.0.0/4, 255.255.255.255 } accept
    ip6 daddr { ff00::/8, fe80::/10 } accept
    fib daddr type local accept
    fib daddr oif missing counter name noroute drop
  }
  chain out {
    type filter hook postrouting priority 300;
    oifname @cut counter drop
    ip daddr @etcdcut ip saddr ${ETCD_ADDRESS} counter drop
  }
  counter noroute { }
}
`;

export class Router {
  readonly machine: Machine;
  readonly fabric: Fabric;
  readonly mtu: number;
  readonly #hosts: number;
  readonly #kept = new Map<number, readonly string[]>();

  constructor(machine: Machine, options: { fabric: Fabric; mtu: number; hosts: number }) {
    this.machine = machine;
    this.fabric = options.fabric;
    this.mtu = options.mtu;
    this.#hosts = options.hosts;
  }

  /** Sets up forwarding and the drop rules; hosts and the world are plugged in afterwards. */
  async configure(): Promise<void> {
    await this.machine.sysctl({
      'net.ipv4.ip_forward': 1,
      'net.ipv6.conf.all.forwarding': 1,
      'net.ipv4.conf.all.rp_filter': 0,
      'net.ipv4.conf.default.rp_filter': 0,
      'net.ipv4.conf.all.send_redirects': 0,
      'net.ipv4.conf.default.send_redirects': 0,
      // Until duplicate address detection is over (1 to 2 s) a link sends no neighbour solicitations.
      'net.ipv6.conf.default.accept_dad': 0,
      ...(this.fabric === 'vpc' ? { 'net.ipv4.conf.all.proxy_arp': 1, 'net.ipv6.conf.all.proxy_ndp': 1 } : {}),
    });
    await this.machine.ip([
      `address add ${ETCD_ADDRESS}/32 dev lo`,
      'route add blackhole default',
      'route add blackhole ::/0',
    ]);
    if (this.fabric === 'switch') {
      // What is bridged is no business of the rules below.
      await this.machine.sysctl({ 'net.bridge.bridge-nf-call-iptables': 0, 'net.bridge.bridge-nf-call-ip6tables': 0 });
      await this.machine.ip([
        `link add rack mtu ${this.mtu} type bridge stp_state 0 forward_delay 0`,
        `address add ${GATEWAY4}/${HOSTS4.split('/')[1]} dev rack`,
        `address add ${GATEWAY6}/${HOSTS6.split('/')[1]} dev rack nodad`,
        'link set rack up',
      ]);
    }
    await this.machine.must(['nft', '-f', '-'], { input: RULES });
  }

  /** Name of the router's link to host `n`. */
  link(n: number): string {
    return `h${n}`;
  }

  /** Plugs host `n` in: a veth whose other end is eth0 in the host's namespace. Routes that `unplug` kept are put back. */
  async plug(n: number, host: Machine): Promise<void> {
    const link = this.link(n);
    const { v4, v6 } = hostAddresses(n);
    await this.#cable(link, host);
    if (this.fabric === 'vpc') {
      await this.machine.sysctl({
        [`net.ipv4.neigh.${link}.proxy_delay`]: 0,
        [`net.ipv6.neigh.${link}.proxy_delay`]: 0,
      });
      const others = Array.from({ length: this.#hosts }, (_, i) => i + 1).filter((i) => i !== n);
      await this.machine.ip([
        `link set ${link} up`,
        `address add ${GATEWAY4}/32 dev ${link}`,
        `address add ${GATEWAY6}/128 dev ${link} nodad`,
        `route replace ${v4}/32 dev ${link} src ${GATEWAY4}`,
        `route replace ${v6}/128 dev ${link}`,
        ...others.map((i) => `neighbour replace proxy ${hostAddresses(i).v6} dev ${link}`),
      ]);
    } else {
      await this.machine.ip([`link set ${link} master rack up`]);
    }
    await host.sysctl({ 'net.ipv6.conf.eth0.accept_dad': 0 });
    await host.ip([
      `address add ${v4}/24 dev eth0`,
      `address add ${v6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${GATEWAY4}`,
      `route add default via ${GATEWAY6} dev eth0`,
    ]);
    for (const prefix of this.#kept.get(n) ?? []) await this.addRoute(prefix, n);
    this.#kept.delete(n);
  }

  /** To be called before host `n` loses power: its link will take the routes along, which in a cloud would stay. */
  async unplug(n: number): Promise<void> {
    const set = (await this.#table()).filter((route) => route.host === n && route.protocol === SET_BY_TEST);
    this.#kept.set(
      n,
      set.map((route) => route.prefix),
    );
  }

  /** Plugs in the machine that plays the Internet and the office. */
  async plugWorld(world: Machine): Promise<void> {
    await this.#cable('world', world);
    await this.machine.ip([
      `address add ${WORLD_GATEWAY4}/24 dev world`,
      `address add ${WORLD_GATEWAY6}/64 dev world nodad`,
      'link set world up',
      `route add ${OFFICE4}/32 via ${WORLD4} dev world`,
    ]);
  }

  /** Points a prefix at a host, as the cloud's route table would; a prefix that has a route is moved. */
  async addRoute(prefix: string, host: number): Promise<void> {
    const { v4, v6 } = hostAddresses(host);
    const six = prefix.includes(':');
    const device = this.fabric === 'vpc' ? this.link(host) : 'rack';
    await this.machine.ip([`route replace ${prefix} via ${six ? v6 : v4} dev ${device} proto ${SET_BY_TEST} onlink`]);
  }

  /** Takes a prefix out of the table, set or mirrored; one that is not in it is fine. */
  async removeRoute(prefix: string): Promise<void> {
    const family = prefix.includes(':') ? '-6' : '-4';
    const outcome = await this.machine.exec(['ip', family, 'route', 'del', prefix]);
    if (outcome.code !== 0 && !outcome.stderr.includes('No such process')) throw new Error(outcome.stderr.trim());
  }

  /** The routes in the router's table, set or mirrored (its own routes to hosts and world are not among them). */
  async routes(): Promise<RouterRoute[]> {
    return (await this.#table()).map(({ prefix, host }) => ({ prefix, host }));
  }

  /** Resolves when the table points `prefix` at `host` (or at nobody, for undefined). */
  async untilRoute(prefix: string, host: number | undefined, timeoutMs = 10_000): Promise<void> {
    await until(
      `the route of ${prefix} to ${host === undefined ? 'nobody' : `host ${host}`}`,
      async () => (await this.routes()).find((route) => route.prefix === prefix)?.host === host,
      { timeoutMs, everyMs: 50 },
    );
  }

  /** Packets that were dropped because no route names their destination. */
  async droppedPackets(): Promise<number> {
    const text = await this.machine.must(['nft', '-j', 'list', 'counter', 'inet', 'fabric', 'noroute']);
    const listed = JSON.parse(text) as { nftables: { counter?: { packets: number } }[] };
    return listed.nftables.find((item) => item.counter)?.counter?.packets ?? 0;
  }

  /** Cuts host `n` off from everybody, silently, as a broken switch port would; its link stays up. */
  async cutHost(n: number): Promise<void> {
    if (this.fabric === 'switch') await this.#portState(n, 0);
    else await this.#element('add', 'cut', this.link(n));
  }

  /** Undoes `cutHost`. */
  async healHost(n: number): Promise<void> {
    if (this.fabric === 'switch') await this.#portState(n, 3);
    else await this.#element('delete', 'cut', this.link(n));
  }

  /** Cuts only the way between host `n` and etcd. */
  async cutEtcd(n: number): Promise<void> {
    await this.#element('add', 'etcdcut', hostAddresses(n).v4);
  }

  /** Undoes `cutEtcd`. */
  async healEtcd(n: number): Promise<void> {
    await this.#element('delete', 'etcdcut', hostAddresses(n).v4);
  }

  /** A veth from the router to the machine's eth0. The last veth of a machine that lost power may need a moment to vanish. */
  async #cable(link: string, to: Machine): Promise<void> {
    await until(`the end of the old link ${link}`, async () => {
      const outcome = await this.machine.exec(['ip', 'link', 'show', link]);
      return outcome.code !== 0;
    });
    const peer = ['peer', 'name', 'eth0', 'mtu', String(this.mtu), 'netns', String(to.pid)];
    await this.machine.networkOnly(['ip', 'link', 'add', link, 'mtu', String(this.mtu), 'type', 'veth', ...peer]);
  }

  async #table(): Promise<(RouterRoute & { protocol: number })[]> {
    const found: (RouterRoute & { protocol: number })[] = [];
    for (const family of ['-4', '-6']) {
      const text = await this.machine.must(['ip', '-j', '-N', family, 'route', 'show']);
      for (const row of JSON.parse(text || '[]') as { dst: string; gateway?: string; protocol?: string }[]) {
        const protocol = Number(row.protocol);
        if (protocol !== SET_BY_TEST && protocol !== MIRRORED) continue;
        const host = Array.from({ length: this.#hosts }, (_, i) => i + 1).find((n) => {
          const { v4, v6 } = hostAddresses(n);
          return row.gateway === v4 || row.gateway === v6;
        });
        const prefix = row.dst.includes('/') ? row.dst : `${row.dst}/${family === '-4' ? 32 : 128}`;
        if (host !== undefined) found.push({ prefix, host, protocol });
      }
    }
    return found;
  }

  async #element(verb: 'add' | 'delete', set: string, element: string): Promise<void> {
    await this.machine.must(['nft', verb, 'element', 'inet', 'fabric', set, `{ ${element} }`]);
  }

  /** Bridge port state: 0 disabled, 3 forwarding (include/uapi/linux/if_bridge.h). */
  async #portState(n: number, state: 0 | 3): Promise<void> {
    await this.machine.must(['bridge', 'link', 'set', 'dev', this.link(n), 'state', String(state)]);
  }
}
