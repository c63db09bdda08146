/** Hosts with the network plugin on a real engine each, an etcd, and a router whose table follows the claims in it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { RigCloud, type RigCloudOptions } from '../../rig/cloud.ts';
import type { CloudName } from '../../rig/cloud-router.ts';
import { until } from '../../rig/command.ts';
import type { Etcd, EtcdOptions } from '../../rig/etcd.ts';
import type { EngineVersion } from '../../rig/packages.ts';
import { Rig, type RigOptions } from '../../rig/rig.ts';
import { routes } from './leftovers.ts';
import { Member } from './member.ts';
import { peer } from './peer.ts';
import { pluginFolder } from './plugin-folder.ts';
import { Watch } from './watch.ts';

export interface ClusterOptions extends RigOptions {
  /** Default etcd; `host`: every host for itself; a cloud: a simulated one, of which the hosts are instances. */
  readonly provider?: 'etcd' | 'host' | CloudName;
  readonly etcd?: EtcdOptions;
  readonly cloud?: RigCloudOptions;
  /** More settings of the plugin, on all hosts. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is installed, as `docker plugin create` takes it. Default: the plugin as it ships. */
  readonly folder?: Promise<string>;
}

/** How long hosts that should write nothing are watched, at least. */
const WATCH_MS = 1_500;

export class Cluster {
  readonly rig: Rig;
  /** Undefined with other providers. */
  readonly etcd: Etcd | undefined;
  /** The simulated cloud; undefined with other providers. */
  readonly cloud: RigCloud | undefined;
  readonly members: readonly Member[];
  readonly engine: EngineVersion;

  private constructor(
    rig: Rig,
    router: { readonly etcd: Etcd | undefined; readonly cloud: RigCloud | undefined },
    members: readonly Member[],
    engine: EngineVersion,
  ) {
    this.rig = rig;
    this.etcd = router.etcd;
    this.cloud = router.cloud;
    this.members = members;
    this.engine = engine;
  }

  /** Starts it for a tap test, at whose end it goes down. Default: two hosts of engine 28 with etcd. */
  static async for(t: Pick<Test, 'teardown'>, options: ClusterOptions = {}): Promise<Cluster> {
    const { provider = 'etcd', etcd: etcdOptions = {}, cloud: cloudOptions, env = {}, ...rest } = options;
    const { folder: given, ...rigOptions } = rest;
    const folder = await (given ?? pluginFolder());
    const rig = await Rig.up({ hosts: 2, plugin: folder, ...rigOptions });
    t.teardown(async () => await rig.down());
    const etcd = provider === 'etcd' ? await rig.etcd(etcdOptions) : undefined;
    if (etcd !== undefined) await rig.mirrorEtcd(etcd);
    const inCloud = provider === 'aws' || provider === 'aliyun';
    const cloud = inCloud ? await RigCloud.start(rig, provider, cloudOptions) : undefined;
    const settings = {
      // Drift is for the tests to find: the loop must not repair it before they look.
      RECONCILE_INTERVAL: '10m',
      ...(etcd === undefined ? {} : { PROVIDER: 'etcd', ETCD_ENDPOINTS: etcd.endpoint }),
      ...cloud?.settings,
      ...env,
    };
    const members = await Promise.all(
      rig.hosts.map(async (host) => {
        const plugin = await host.installPlugin(folder, { env: settings });
        return new Member(host, plugin, { etcd, busybox: rig.tools.busybox });
      }),
    );
    const engine = typeof rigOptions.engine === 'object' ? rigOptions.engine[0] : rigOptions.engine;
    return new Cluster(rig, { etcd, cloud }, members, engine ?? '28');
  }

  /** Host number `n`, counted from 1. */
  member(n: number): Member {
    const member = this.members[n - 1];
    if (member === undefined) throw new Error(`this cluster has ${this.members.length} hosts, no host ${n}`);
    return member;
  }

  /** `docker network create -d vpc … <name>` on every host, and waits until the router knows every claim. */
  async createNetwork(name: string, ...args: string[]): Promise<void> {
    await Promise.all(this.members.map((member) => member.createNetwork(name, ...args)));
    await this.untilRouted();
  }

  /** `docker network rm` on every host. */
  async removeNetwork(...names: string[]): Promise<void> {
    await Promise.all(this.members.map((member) => member.must('network', 'rm', ...names)));
  }

  /** Waits until every claim has its route on the router and is known to the other hosts. */
  async untilRouted(): Promise<void> {
    const { etcd } = this;
    // A cloud tells no news: hosts hear of each other when they next look.
    if (this.cloud !== undefined) await Promise.all(this.members.map((member) => member.reconcile()));
    if (etcd === undefined) return;
    await until('the routes of all claims', async () => {
      const claimed = (await etcd.list('/drayage')).filter(({ key }) => key.includes('/routes/'));
      const prefixes = claimed.map(({ value }) => (JSON.parse(value) as { prefix: string }).prefix);
      const routed = new Set((await this.rig.router.routes()).map(({ prefix }) => prefix));
      if (prefixes.length !== routed.size || !prefixes.every((prefix) => routed.has(prefix))) return false;
      const known = await Promise.all(this.members.map((member) => member.drayage('routes', '--json')));
      return known.every(({ out }) => prefixes.every((prefix) => out.includes(`"${prefix}"`)));
    });
  }

  /** Waits until every host's own kernel leads to the prefixes that others have claimed: plugins do that a moment after they know. */
  async untilLed(): Promise<void> {
    const { etcd } = this;
    if (etcd === undefined) return;
    const claimed = (await etcd.list('/drayage')).filter(({ key }) => key.includes('/routes/'));
    const claims = claimed.map(({ value }) => JSON.parse(value) as { prefix: string; host: string });
    for (const { name, host } of this.members) {
      await until(`the ways of ${name} to other hosts`, async () => {
        const ways = (await routes(host))
          .filter((line) => line.includes(' via '))
          .map((line) => line.split(' ')[1] ?? '');
        const wanted = claims.filter((claim) => claim.host !== name).map(({ prefix }) => prefix);
        return ways.sort().join() === wanted.sort().join();
      });
    }
  }

  /**
   * Asks from outside of the hosts: whom the server at `target` takes the world for; '' without an answer. `from` is
   * the world's address to use (`world.office` has a way back from containers).
   */
  async whoamiFromWorld(target: string, from?: string): Promise<string> {
    const { machine } = this.rig.world;
    const url = `http://${target}/cgi-bin/whoami`;
    const busybox = [this.rig.tools.busybox, 'wget', '-T', '2', '-qO-', url];
    return (await machine.exec(from === undefined ? busybox : peer('get', url, from))).stdout.trim();
  }

  /** Removes all containers and all `vpc` networks of all hosts. */
  async clear(): Promise<void> {
    await Promise.all(this.members.map((member) => member.clear()));
  }

  /** One line for each thing that the plugins still have on any host. Empty when no network of theirs is left. */
  async leftovers(): Promise<string[]> {
    const found = await Promise.all(this.members.map((member) => member.leftovers()));
    const claimed = (await this.cloud?.routes()) ?? [];
    return [
      ...found.flatMap((lines, index) => lines.map((line) => `${this.members[index]?.name}: ${line}`)),
      ...claimed.map(({ prefix, target }) => `cloud: ${prefix} to ${target}`),
    ];
  }

  /** The same, after it has had a moment to become none: other hosts hear of a prefix given back a little later. */
  async leftoversInTheEnd(timeoutMs = 5_000): Promise<string[]> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const found = await this.leftovers();
      if (found.length === 0 || performance.now() > end) return found;
      // A look starts a dozen programs on each host.
      await sleep(100);
    }
  }

  /** What is written anywhere while every host compares twice: drift, and changes of links, routes, firewall, etcd and cloud. */
  async writesAtRest(): Promise<string[]> {
    const revision = await this.#revision();
    const watches = this.members.flatMap(({ name, host: { machine } }) => [
      { name, watch: Watch.start(machine, 'nft', 'monitor') },
      { name, watch: Watch.start(machine, 'ip', 'monitor', 'link', 'address', 'route') },
    ]);
    const end = performance.now() + WATCH_MS;
    await sleep(300);
    const drift: string[] = [];
    for (let pass = 0; pass < 2; pass += 1) {
      for (const member of this.members) {
        for (const { What } of await member.reconcile()) drift.push(`${member.name}: drift: ${What}`);
      }
    }
    // Whatever was touched is looked over within 150 ms.
    await sleep(Math.max(400, end - performance.now()));
    const seen = await Promise.all(
      watches.map(async ({ name, watch }) => (await watch.stop()).map((line) => `${name}: ${line}`)),
    );
    const written = (await this.#revision()) - revision;
    return [...drift, ...seen.flat(), ...(written === 0 ? [] : [`provider: ${written} writes`])];
  }

  /** A number that grows with each write at the provider. */
  async #revision(): Promise<number> {
    const calls = (await this.cloud?.calls()) ?? [];
    const reads = /^(Describe|Get|List)/;
    if (this.cloud !== undefined) {
      return calls.filter(({ service, action }) => service !== 'metadata' && !reads.test(action)).length;
    }
    if (this.etcd === undefined) return 0;
    const { stdout } = await this.etcd.ctl(['get', '/', '-w', 'json']);
    return Number(/"revision":(\d+)/.exec(stdout)?.[1]);
  }
}
