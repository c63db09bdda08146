/** A virtual machine of a rig: a copy of the template, with a name, an address and a clock of its own. */

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { GATEWAY4, HOSTS4, hostAddresses } from '../addresses.ts';
import { ended, failure, must, type Outcome, type RunOptions, run, signal, until } from '../command.ts';
import type { Rig } from '../rig.ts';
import { GuestAgent, type GuestRunOptions } from './agent.ts';
import { DOCKER_PORT, WAKE_PATH } from './guest.ts';
import { agentSocket, monitorSocket, qemuArguments } from './qemu.ts';
import { Qmp } from './qmp.ts';
import { GUEST_PLUGIN, ignoreSharedMemory, type Template, untilMigrated } from './template.ts';

/** For the plugin to start, 20 times slower than on a real machine. */
const START_MS = 180_000;
const STOP_MS = 120_000;

export class VirtualMachine {
  /** Counted from 1. */
  readonly number: number;
  readonly v4: string;
  readonly agent: GuestAgent;
  readonly #rig: Rig;
  readonly #template: Template;
  /** Ends the clients of an engine that is gone: nothing would tell them. */
  readonly #off = new AbortController();
  #qmp: Qmp | undefined;
  #pid = 0;

  private constructor(n: number, rig: Rig, template: Template) {
    this.number = n;
    this.v4 = hostAddresses(n).v4;
    this.#rig = rig;
    this.#template = template;
    this.agent = new GuestAgent(agentSocket(this.folder, 'test'));
  }

  /** Copies the template. Nothing of an earlier machine of this number is left. */
  static async start(n: number, rig: Rig, template: Template): Promise<VirtualMachine> {
    const machine = new VirtualMachine(n, rig, template);
    await machine.#boot();
    return machine;
  }

  get name(): string {
    return `vm${this.number}`;
  }

  /** Its disks' overlays, sockets, console and QEMU's own output. */
  get folder(): string {
    return path.join(this.#rig.folder, 'router', this.name);
  }

  /** Path of busybox on the real machine, for clients in the guests' network. */
  get busybox(): string {
    return this.#template.tools.busybox;
  }

  get running(): boolean {
    return this.#qmp?.alive ?? false;
  }

  /** Runs a program in the guest, also when it is cut off; a failure is an outcome. */
  async exec(argv: readonly string[], options: GuestRunOptions = {}): Promise<Outcome> {
    return await this.agent.exec(argv, options);
  }

  async must(argv: readonly string[], options: GuestRunOptions = {}): Promise<string> {
    return await this.agent.must(argv, options);
  }

  /** The docker client, here, over the network, which is much faster than in the guest. A failure is an outcome; so is `kill9`. */
  async docker(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    const client = [this.#template.tools.docker, '-H', `tcp://${this.v4}:${DOCKER_PORT}`, ...args];
    return await run(this.inNetwork(client), { timeoutMs: 120_000, killed: this.#off.signal, ...options });
  }

  async dockerMust(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const outcome = await this.docker(args, options);
    if (outcome.code !== 0) throw failure([`${this.name}: docker`, ...args], outcome);
    return outcome.stdout.replace(/\n$/, '');
  }

  /** The argument array that runs `argv` where the guests' network is. */
  inNetwork(argv: readonly string[]): string[] {
    return ['nsenter', '-t', String(this.#rig.router.machine.pid), '-n', '--', ...argv];
  }

  /** `docker plugin set` and `enable` of the plugin that the template has; resolves when it knows the cluster's volumes. */
  async enablePlugin(settings: Readonly<Record<string, string>>): Promise<void> {
    const pairs = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    if (pairs.length > 0) await this.dockerMust(['plugin', 'set', GUEST_PLUGIN, ...pairs]);
    const outcome = await this.docker(['plugin', 'enable', GUEST_PLUGIN], { timeoutMs: START_MS });
    if (outcome.code !== 0) throw new Error(`${this.name}: ${outcome.stderr.trim()}\n${await this.pluginLog()}`);
    await this.untilReady();
  }

  /** Resolves when the plugin can ask its cloud. */
  async untilReady(): Promise<void> {
    let last: unknown;
    const probe = async (): Promise<boolean> => {
      last = await this.admin('Drayage.Refresh', {}).catch((error: Error) => ({ Err: error.message }));
      return (last as { Err?: string }).Err === undefined;
    };
    try {
      await until(`the plugin of ${this.name}`, probe, { timeoutMs: START_MS, everyMs: 300 });
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}\n${await this.pluginLog()}`);
    }
  }

  /** SIGTERM to the engine, which stops its containers and its plugins; resolves at its end. */
  async stopEngine(): Promise<void> {
    const script = 'pid=$(pgrep -x dockerd); kill $pid; while kill -0 $pid 2> /dev/null; do sleep 0.1; done';
    await this.must(['sh', '-c', script], { timeoutMs: STOP_MS });
  }

  /** SIGKILL to the plugin's first process, and with it to all others. The engine starts it again by itself; resolves when it listens. */
  async killPlugin(): Promise<void> {
    const script = `
      find() { pgrep -f '^/bin/sh [/]usr/lib/drayage/first.sh'; }
      old=$(find)
      kill -KILL $old
      until pid=$(find) && [ "$pid" != "$old" ] && grep -q '/plugins/cloudvol[.]sock' /proc/net/unix; do sleep 0.3; done`;
    await this.must(['sh', '-c', script], { timeoutMs: START_MS });
  }

  /** What the plugin wrote to the engine's log. */
  async pluginLog(): Promise<string> {
    return (await this.exec(['grep', 'plugin=', '/var/log/dockerd.log'])).stdout;
  }

  /** Calls an administrative method such as Drayage.Volume over the plugin's own socket in the guest. */
  async admin(method: string, body: object, timeoutMs = 30_000): Promise<Readonly<Record<string, unknown>>> {
    const socket = '/var/lib/drayage/volume/admin.sock';
    const call = ['curl', '-sS', '--unix-socket', socket, '-d', JSON.stringify(body), `http://d/${method}`];
    return JSON.parse(await this.must(call, { timeoutMs })) as Readonly<Record<string, unknown>>;
  }

  /** The machine stands still, as when its host is overloaded: nothing in it goes on, its disks stay. */
  async freeze(): Promise<void> {
    await this.#monitor.ask('stop');
  }

  /** It goes on where it was; its clock has missed the time. */
  async thaw(): Promise<void> {
    await this.#monitor.ask('cont');
  }

  /** kill -9 to QEMU: power is gone within a microsecond. */
  async kill9(): Promise<void> {
    signal(this.#pid, 'SIGKILL');
    await ended(this.#pid, 10_000);
    this.#off.abort();
  }

  /** Shifts the guest's clock. */
  async shiftClock(seconds: number): Promise<void> {
    await this.must(['date', '-s', `@${Math.round(Date.now() / 1000) + seconds}`]);
  }

  /** The guest's block device of this serial number, such as nvme0n1; undefined when there is none. */
  async deviceOf(serial: string): Promise<string | undefined> {
    const list = 'grep -s . /sys/block/*/serial /sys/block/*/device/serial';
    for (const line of (await this.exec(['sh', '-c', list])).stdout.split('\n')) {
      const [file = '', found = ''] = line.split(':');
      if (found.trim() === serial) return file.split('/')[3];
    }
    return undefined;
  }

  get #monitor(): Qmp {
    if (!this.#qmp) throw new Error(`${this.name} was not started`);
    return this.#qmp;
  }

  async #boot(): Promise<void> {
    const { folder } = this;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const { base, memory, root, plugins, state } = this.#template;
    const overlay = async (name: string, backing: string): Promise<string> => {
      const file = path.join(folder, name);
      await must(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', backing, file]);
      return file;
    };
    const overlays = { root: await overlay('root.qcow2', root), plugins: await overlay('plugins.qcow2', plugins) };
    const { router } = this.#rig;
    const tap = router.link(this.number);
    if ((await router.machine.exec(['ip', 'link', 'show', tap])).code !== 0) {
      await router.machine.ip([`tuntap add dev ${tap} mode tap`, `link set ${tap} master rack up`]);
    }
    const argv = qemuArguments({ base, folder, ...overlays, memory: { file: memory, use: 'copy' }, tap });
    this.#pid = await router.machine.spawn(argv, path.join(this.name, 'qemu.log'));
    const qmp = await Qmp.open(monitorSocket(folder, 'test'));
    this.#qmp = qmp;
    await ignoreSharedMemory(qmp);
    await qmp.ask('migrate-incoming', { uri: `exec:cat '${state}'` });
    await untilMigrated(qmp);
    await qmp.ask('cont');
    const mac = `02:d7:a6:00:00:${this.number.toString(16).padStart(2, '0')}`;
    const address = `${this.v4}/${HOSTS4.split('/')[1]}`;
    const now = (Date.now() / 1000).toFixed(3);
    const wake = [WAKE_PATH, this.name, mac, address, GATEWAY4, now, randomBytes(32).toString('hex')];
    await this.must(wake, { timeoutMs: 60_000 });
    await until(`the engine of ${this.name}`, async () => (await this.docker(['version'])).code === 0, {
      timeoutMs: 60_000,
      everyMs: 200,
    });
  }
}
