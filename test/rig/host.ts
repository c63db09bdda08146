/** A host: a machine with an engine, an uplink to the router, and the means to drive and break it. */

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PLUGIN_NAME } from '../../network-plugin/options.ts';
import { hostAddresses, WORLD4 } from './addresses.ts';
import { failure, must, type Outcome, type RunOptions, run } from './command.ts';
import { Engine, type EngineOptions } from './engine.ts';
import type { ImageName } from './images.ts';
import { Machine, type MachineOptions } from './machine.ts';
import type { EngineFiles, Tools } from './packages.ts';
import { InstalledPlugin, type PluginSettings } from './plugin.ts';
import type { Router } from './router.ts';
import { plantSeed } from './seed.ts';

export class Host {
  /** Counted from 1. */
  readonly number: number;
  readonly machine: Machine;
  readonly engine: Engine;
  /** Its address in the hosts' subnet. */
  readonly v4: string;
  readonly v6: string;
  readonly #router: Router;
  readonly #tools: Tools;
  #seeded: string | undefined;

  private constructor(n: number, machine: Machine, engine: Engine, router: Router, tools: Tools) {
    this.number = n;
    this.machine = machine;
    this.engine = engine;
    this.#router = router;
    this.#tools = tools;
    ({ v4: this.v4, v6: this.v6 } = hostAddresses(n));
  }

  /** Starts the machine, plugs it in and starts the engine. */
  static async start(
    n: number,
    how: {
      machine: MachineOptions;
      files: EngineFiles;
      cgroup: string;
      engine: EngineOptions;
      router: Router;
      tools: Tools;
      /** A built plugin's folder, and what an engine makes of it (see seed.ts). */
      plugin?: { folder: string; seed: string } | undefined;
    },
  ): Promise<Host> {
    const machine = await Machine.start(how.machine);
    if (how.plugin) await plantSeed(how.plugin.seed, path.join(machine.folder, 'docker'));
    const host = new Host(n, machine, new Engine(machine, how.files, how.cgroup, how.engine), how.router, how.tools);
    host.#seeded = how.plugin?.folder;
    mkdirSync(host.#config, { recursive: true });
    const config = JSON.stringify({ cliPluginsExtraDirs: [how.tools.cliPlugins] });
    writeFileSync(path.join(host.#config, 'config.json'), config);
    await host.#comeUp();
    return host;
  }

  get name(): string {
    return this.machine.name;
  }

  /** Folder that the plugin sees as /var/lib/drayage. */
  get stateFolder(): string {
    return path.join(this.machine.folder, 'drayage');
  }

  /** Runs the docker client against this host's engine; a failure is an outcome. `docker(['run', '--rm', 'drayage/box:1', 'true'])`. */
  async docker(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await run([this.#tools.docker, ...args], { ...options, env: { ...this.#clientEnv, ...options.env } });
  }

  /** Like `docker`, but must succeed; returns its standard output without the final newline. */
  async dockerMust(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const outcome = await this.docker(args, options);
    if (outcome.code !== 0) throw failure([`${this.name}: docker`, ...args], outcome);
    return outcome.stdout.replace(/\n$/, '');
  }

  /** `docker compose` with the file's text; `project` names it. A failure is an outcome. */
  async compose(project: string, yaml: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await this.docker(['compose', '-p', project, '-f', '-', ...args], {
      timeoutMs: 120_000,
      ...options,
      input: yaml,
    });
  }

  /** Runs a program on the host (its namespaces, its /etc); a failure is an outcome. */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await this.machine.exec(argv, options);
  }

  /** Like `exec`, but must succeed; returns its standard output without the final newline. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return await this.machine.must(argv, options);
  }

  /** Runs a busybox applet on the host: wget, nc, ping, httpd … */
  async busybox(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await this.machine.exec([this.#tools.busybox, ...args], options);
  }

  /** Imports an image as drayage/<name>:1. */
  async importImage(name: ImageName, tar: string): Promise<void> {
    const change = ['--change', 'CMD ["sleep","infinity"]', '--change', 'ENV PATH=/bin:/usr/bin'];
    await this.dockerMust(['import', ...change, tar, `drayage/${name}:1`]);
  }

  /**
   * `docker plugin create`, `set` and `enable`. `folder` holds config.json and rootfs/. When the rig was started with
   * this folder as its `plugin`, it is there already, and the first installation under the usual name skips `create`.
   * @returns the plugin, also when `settings.enable` is false.
   */
  async installPlugin(folder: string, settings: PluginSettings = {}): Promise<InstalledPlugin> {
    return await InstalledPlugin.install(this, folder, settings);
  }

  /** True once for the plugin that the host was started with. */
  takeSeeded(folder: string, name: string): boolean {
    if (this.#seeded !== folder || name !== PLUGIN_NAME) return false;
    this.#seeded = undefined;
    return true;
  }

  /** Takes the host away as a power cut does: all processes die at once, the disks stay. */
  async powerOff(): Promise<void> {
    await this.#router.unplug(this.number);
    await this.machine.powerOff();
    this.engine.forget();
  }

  /** Boots a host that was powered off: new namespaces, the same disks, the same address, a new engine process. */
  async powerOn(): Promise<void> {
    await this.machine.boot();
    await this.#comeUp();
  }

  get #clientEnv(): NodeJS.ProcessEnv {
    return clientEnvironment(this.machine.folder, this.#tools);
  }

  get #config(): string {
    return path.join(this.machine.folder, 'client');
  }

  async #comeUp(): Promise<void> {
    await this.#router.plug(this.number, this.machine);
    writeFileSync(
      `/proc/${this.machine.pid}/root/etc/resolv.conf`,
      `nameserver ${WORLD4}\noptions timeout:1 attempts:1\n`,
    );
    await this.engine.start();
  }

  /** Rules of this host's firewall as `iptables-save` tells them, for both variants and families. */
  async firewall(): Promise<string> {
    const parts: string[] = [];
    for (const tool of ['iptables-nft-save', 'iptables-legacy-save', 'ip6tables-nft-save', 'ip6tables-legacy-save']) {
      parts.push(`# ${tool}\n${await must(this.machine.inside([tool]))}`);
    }
    parts.push(`# nft\n${await must(this.machine.inside(['nft', 'list', 'ruleset']))}`);
    return parts.join('\n');
  }
}

/** Environment in which `docker` is the rig's client and talks to the engine of the host with this folder. */
export function clientEnvironment(folder: string, tools: Tools): NodeJS.ProcessEnv {
  return {
    PATH: `${path.dirname(tools.docker)}:${process.env.PATH}`,
    HOME: folder,
    LANG: 'C.UTF-8',
    DOCKER_HOST: `unix://${path.join(folder, 'docker.sock')}`,
    DOCKER_CONFIG: path.join(folder, 'client'),
    DOCKER_CLI_HINTS: 'false',
  };
}
