/**
 * Real Docker engines on make-believe hosts, joined by a router that forwards only what its table names.
 *
 *   await withRig({ hosts: 2, engine: '28' }, async (rig) => {
 *     await rig.host(1).dockerMust(['run', '-d', '--name', 'web', 'drayage/box:1', 'httpd', '-f', '-h', '/www']);
 *   });
 *
 * Nothing is set in the machine's own network namespace. A rig goes down with its process, however that ends;
 * what a killed one leaves (its folder and cgroups) is swept by the next.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ETCD_ADDRESS } from './addresses.ts';
import { signal } from './command.ts';
import type { EngineOptions } from './engine.ts';
import { Etcd, type EtcdOptions, type EtcdPlace } from './etcd.ts';
import type { MirrorConfig } from './etcd-router.ts';
import { clientEnvironment, Host } from './host.ts';
import type { ImageName } from './images.ts';
import { Machine } from './machine.ts';
import { type EngineVersion, ensureTools, type Iptables, type Tools } from './packages.ts';
import { checkMachine } from './preflight.ts';
import { cgroupOf, newRecord, type RigRecord, saveRecord, sweep, takeDown } from './record.ts';
import { type Fabric, Router } from './router.ts';
import { exitOnSignals } from './signals.ts';
import { fetchWares, type HostWares, toStandardError, type Wares } from './wares.ts';
import { World } from './world.ts';

export interface RigOptions {
  /** Number of hosts. Default 1. */
  readonly hosts?: number;
  /** Engine of all hosts, or one for each. Default 28. */
  readonly engine?: EngineVersion | readonly EngineVersion[];
  /** What dockerd finds as `iptables`. Default nft. */
  readonly iptables?: Iptables;
  /** Default vpc: a router that drops what no route names. */
  readonly fabric?: Fabric;
  /** MTU of the hosts' uplinks. Default 1500. */
  readonly mtu?: number;
  readonly daemon?: EngineOptions;
  /** Imported on every host at start. Default box. */
  readonly images?: readonly ImageName[];
  /** Folder of a built plugin that `host.installPlugin` will install: saves its `docker plugin create`, 4 s a host. */
  readonly plugin?: string;
  /** Leave it running when this process ends; `npm run rig -- down` takes it down. Default false. */
  readonly detached?: boolean;
  /** Gets a sentence when something is installed or unpacked. Default: standard error. */
  readonly say?: (line: string) => void;
}

/** Control over what mirrors etcd into the router. */
export interface Mirror {
  pause(): void;
  resume(): void;
}

export class Rig {
  readonly hosts: readonly Host[];
  readonly router: Router;
  /** What is outside: HTTP, echo and DNS servers that log who asked. */
  readonly world: World;
  readonly tools: Tools;
  readonly #record: RigRecord;
  #down: Promise<void> | undefined;

  private constructor(record: RigRecord, tools: Tools, parts: { hosts: Host[]; router: Router; world: World }) {
    this.#record = record;
    this.tools = tools;
    this.hosts = parts.hosts;
    this.router = parts.router;
    this.world = parts.world;
  }

  /** Starts a rig: sweeps dead ones, fetches what is missing (once), then router, world and all hosts in parallel. */
  static async up(options: RigOptions = {}): Promise<Rig> {
    await checkMachine();
    let record: RigRecord | undefined;
    const release = exitOnSignals(() => record);
    try {
      await sweep();
      const wares = await fetchWares(options);
      const detached = options.detached ?? false;
      record = newRecord({ detached, engine: wares.hosts.map(({ files }) => files.version).join(',') });
      const rig = await Rig.#start(record, wares, options);
      rig.#release = release;
      if (detached) release();
      return rig;
    } catch (error) {
      release();
      if (record) await takeDown(record);
      throw error;
    }
  }

  static async #start(record: RigRecord, wares: Wares, options: RigOptions): Promise<Rig> {
    const { tools } = wares;
    const common = { tools, rig: record.id, detached: record.detached };
    const machine = (name: string): Promise<Machine> =>
      Machine.start({ ...common, name, folder: path.join(record.folder, name), disks: false });
    const [routerMachine, worldMachine] = await Promise.all([machine('router'), machine('world')]);
    const router = new Router(routerMachine, {
      fabric: options.fabric ?? 'vpc',
      mtu: options.mtu ?? 1500,
      hosts: wares.hosts.length,
    });
    await router.configure();
    const world = new World(worldMachine);
    const startHost = async ({ files, plugin }: HostWares, n: number): Promise<Host> => {
      const name = `host${n}`;
      const programs = [files.bin, wares.iptables];
      const host = await Host.start(n, {
        machine: { ...common, name, folder: path.join(record.folder, name), disks: true, programs },
        files,
        cgroup: cgroupOf(record.id, n),
        engine: options.daemon ?? {},
        router,
        tools,
        plugin,
      });
      for (const [image, tar] of wares.images) await host.importImage(image, tar);
      return host;
    };
    const [hosts] = await allOrNothing([
      allOrNothing(wares.hosts.map((one, i) => startHost(one, i + 1))),
      world.start(router),
    ]);
    await world.ready();
    const full: RigRecord = {
      ...record,
      hosts: hosts.map((host) => ({ name: host.name, init: host.machine.pid, v4: host.v4 })),
      router: { init: routerMachine.pid },
      world: { init: worldMachine.pid },
    };
    saveRecord(full);
    return new Rig(full, tools, { hosts, router, world });
  }

  #release: () => void = () => undefined;

  get id(): string {
    return this.#record.id;
  }

  /** Folder of all of the rig's files. */
  get folder(): string {
    return this.#record.folder;
  }

  /** Host number `n`, counted from 1. */
  host(n: number): Host {
    const host = this.hosts[n - 1];
    if (!host) throw new Error(`this rig has ${this.hosts.length} hosts, no host ${n}`);
    return host;
  }

  /** Starts an etcd in the router's namespace, on an address that every host reaches: `http(s)://10.250.0.2:2379`. */
  async etcd(options: EtcdOptions = {}): Promise<Etcd> {
    const { machine } = this.router;
    const folder = path.join(machine.folder, 'etcd');
    mkdirSync(folder, { recursive: true });
    const place: EtcdPlace = {
      address: ETCD_ADDRESS,
      port: 2379,
      folder,
      tools: this.tools,
      spawn: async (argv, log, env) => await machine.spawn(argv, path.join('etcd', log), env),
      inside: (argv) => machine.inside(argv),
    };
    return await Etcd.start(place, options);
  }

  /**
   * Has the router play a cloud whose route table is what the plugins claim in etcd: from now on its table follows the
   * keys below `<root>/<cluster>/routes/` within a fraction of a second. Without it only `router.addRoute` makes routes.
   * @returns a control to have the cloud's control plane stand still for a while: the table then stays as it is.
   */
  async mirrorEtcd(etcd: Etcd, where: { root?: string; cluster?: string } = {}): Promise<Mirror> {
    const files = etcd.certificates;
    const config: MirrorConfig = {
      endpoint: etcd.endpoint,
      prefix: `${where.root ?? '/drayage'}/${where.cluster ?? 'default'}/routes/`,
      hosts: this.hosts.length,
      fabric: this.router.fabric,
      everyMs: 200,
      ...(files ? { tls: { ca: files.ca, cert: files.clientCert, key: files.clientKey } } : {}),
      ...(etcd.rootPassword === undefined ? {} : { user: { name: 'root', password: etcd.rootPassword } }),
    };
    const script = fileURLToPath(new URL('etcd-router.ts', import.meta.url));
    const argv = [process.execPath, script, JSON.stringify(config)];
    const pid = await this.router.machine.spawn(argv, 'etcd-router.log');
    return { pause: () => signal(pid, 'SIGSTOP'), resume: () => signal(pid, 'SIGCONT') };
  }

  /** Environment for a developer's shell on a host of a running rig: docker there is the host's engine. */
  static async shellEnvironment(record: RigRecord, hostName: string): Promise<NodeJS.ProcessEnv> {
    const tools = await ensureTools(toStandardError);
    return clientEnvironment(path.join(record.folder, hostName), tools);
  }

  /** Takes everything away. Calling it again waits for the first call. */
  async down(): Promise<void> {
    this.#down ??= takeDown(this.#record).finally(() => this.#release());
    await this.#down;
  }
}

/** Runs `work` with a rig and takes it down afterwards, also when `work` fails. */
export async function withRig<T>(options: RigOptions, work: (rig: Rig) => Promise<T>): Promise<T> {
  const rig = await Rig.up(options);
  try {
    return await work(rig);
  } finally {
    await rig.down();
  }
}

/** A rig for a tap test: it goes down at the test's end. */
export async function rigFor(t: { teardown(fn: () => Promise<void>): void }, options: RigOptions = {}): Promise<Rig> {
  const rig = await Rig.up(options);
  t.teardown(async () => await rig.down());
  return rig;
}

/** Waits for all, so that nothing goes on in the background when one has failed. */
async function allOrNothing<T extends readonly unknown[]>(
  work: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T>;
async function allOrNothing<T>(work: readonly Promise<T>[]): Promise<T[]>;
async function allOrNothing(work: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(work);
  const failed = settled.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined));
}
