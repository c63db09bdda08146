/**
 * One make-believe machine: a PID namespace with a small init, and with it a network, mount, UTS and IPC namespace.
 * When the init dies the kernel ends every process in it, and namespaces, mounts and veths go with the last process,
 * so a machine cannot leave anything behind but its folder and its cgroups.
 *
 * Its /etc and /var/lib are overlays over the real ones, /run is its own, /var/lib/drayage is in the machine's folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  childrenOf,
  ended,
  must,
  type Outcome,
  pidOf,
  type RunOptions,
  run,
  signal,
  startTime,
  until,
} from './command.ts';
import type { Tools } from './packages.ts';

export interface MachineOptions {
  readonly name: string;
  /** Folder for its files; lives until the rig goes down, also over `restart`. */
  readonly folder: string;
  readonly tools: Tools;
  /** The rig's id; every process has it in its environment, by which a later rig finds leftovers. */
  readonly rig: string;
  /** The machine outlives this process (a cluster for a developer). */
  readonly detached: boolean;
  /** Private /etc, /var/lib, /run and /sys: wanted for hosts, not for the router. */
  readonly disks: boolean;
  /** Folders put before PATH inside. */
  readonly programs?: readonly string[];
}

export class Machine {
  readonly options: MachineOptions;
  readonly name: string;
  readonly folder: string;
  #pid = 0;
  #born = '';

  private constructor(options: MachineOptions) {
    this.options = options;
    this.name = options.name;
    this.folder = options.folder;
  }

  static async start(options: MachineOptions): Promise<Machine> {
    const machine = new Machine(options);
    mkdirSync(options.folder, { recursive: true });
    await machine.boot();
    return machine;
  }

  /** A machine that another process started, by its recorded init. */
  static adopt(options: MachineOptions, pid: number): Machine {
    const machine = new Machine(options);
    machine.#pid = pid;
    machine.#born = startTime(pid) ?? '';
    return machine;
  }

  /** Pid of its init, as seen from outside. Its namespaces are /proc/<pid>/ns/*, its files /proc/<pid>/root. */
  get pid(): number {
    return this.#pid;
  }

  get alive(): boolean {
    return this.#pid !== 0 && startTime(this.#pid) === this.#born;
  }

  /** Environment of every program inside. */
  get env(): NodeJS.ProcessEnv {
    return {
      PATH: [
        ...(this.options.programs ?? []),
        '/usr/local/sbin',
        '/usr/local/bin',
        '/usr/sbin',
        '/usr/bin',
        '/sbin',
        '/bin',
      ].join(':'),
      HOME: '/root',
      LANG: 'C.UTF-8',
      DRAYAGE_RIG: this.options.rig,
    };
  }

  /** The argument array that runs `argv` inside the machine. */
  inside(argv: readonly string[]): string[] {
    return ['nsenter', '-t', String(this.#pid), '-n', '-m', '-u', '-i', '-p', '--', ...argv];
  }

  /** Runs a program inside to its end; a non-zero exit is an outcome. */
  async exec(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return await run(this.inside(argv), { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs a program inside that must succeed; returns its standard output without the final newline. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return await must(this.inside(argv), { ...options, env: { ...this.env, ...options.env } });
  }

  /** Runs a program that must succeed in this machine's network namespace only: it sees the pids of the real machine. */
  async networkOnly(argv: readonly string[]): Promise<string> {
    return await must(['nsenter', '-t', String(this.#pid), '-n', '--', ...argv], { env: this.env });
  }

  /** Several `ip` commands in one process; the address family follows from the addresses in them. */
  async ip(commands: readonly string[]): Promise<void> {
    if (commands.length > 0) await this.must(['ip', '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Sets sysctls inside, such as { 'net.ipv4.ip_forward': 1 }. */
  async sysctl(values: Readonly<Record<string, number | string>>): Promise<void> {
    await this.must(['sysctl', '-q', '-w', ...Object.entries(values).map(([key, value]) => `${key}=${value}`)]);
  }

  /** Starts a program inside that goes on; output is appended to `<folder>/<log>`. Returns its pid as seen from outside. */
  async spawn(argv: readonly string[], log: string, env: NodeJS.ProcessEnv = {}): Promise<number> {
    const child = this.#launch(this.inside(argv), log, { ...this.env, ...env });
    const starter = await pidOf(child, argv[0] ?? '');
    // nsenter forks into the PID namespace: its child is the program.
    const started = await until(
      `the start of ${argv[0]} in ${this.name}`,
      () => (child.exitCode === null ? childrenOf(starter)[0] : -1),
      { timeoutMs: 5_000, everyMs: 2 },
    );
    if (started === -1) throw new Error(`${argv[0]} ended at once in ${this.name}; see ${path.join(this.folder, log)}`);
    return started;
  }

  /** The power goes off: every process inside is killed at once, and the kernel drops its namespaces. */
  async powerOff(): Promise<void> {
    if (!this.alive) return;
    signal(this.#pid, 'SIGKILL');
    await ended(this.#pid, 20_000);
    this.#pid = 0;
  }

  /** Starts the init and lays out the file systems. Called by `start`, and again after `powerOff`. */
  async boot(): Promise<void> {
    const { tools, detached, folder } = this.options;
    const init = [tools.tini, '--', 'sleep', 'infinity'];
    const unshare = ['unshare', '-n', '-m', '-u', '-i', '-p', '--fork', '--kill-child', '--mount-proc', '--', ...init];
    // Not detached: the kernel kills it, and through it the whole machine, when this process dies, however it dies.
    const child = this.#launch(
      detached ? unshare : ['setpriv', '--pdeathsig', 'KILL', '--', ...unshare],
      'init.log',
      this.env,
    );
    const starter = await pidOf(child, 'unshare');
    this.#pid = await until(`the init of ${this.name}`, () => childrenOf(starter)[0], { timeoutMs: 5_000, everyMs: 2 });
    this.#born = startTime(this.#pid) ?? '';
    // The init is there before its /proc is mounted; wait until it runs tini's child.
    await until(`the start of ${this.name}`, () => childrenOf(this.#pid).length > 0, { timeoutMs: 5_000, everyMs: 2 });
    await this.must(['hostname', this.name]);
    await this.ip(['link set lo up']);
    if (this.options.disks) await this.#mountDisks(folder);
  }

  async #mountDisks(folder: string): Promise<void> {
    const mount = async (...args: string[]): Promise<void> => {
      await this.must(['mount', ...args]);
    };
    for (const [name, target] of [
      ['etc', '/etc'],
      ['var-lib', '/var/lib'],
    ] as const) {
      const upper = path.join(folder, name, 'upper');
      const work = path.join(folder, name, 'work');
      for (const made of [upper, work]) mkdirSync(made, { recursive: true });
      await mount('-t', 'overlay', '-o', `lowerdir=${target},upperdir=${upper},workdir=${work}`, 'overlay', target);
    }
    await mount('-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', '/run');
    // A fresh sysfs shows this network namespace's links; it comes without the cgroup mounts, so these are carried over.
    const carried = path.join(folder, 'cgroup');
    for (const made of [carried, path.join(folder, 'drayage')]) mkdirSync(made, { recursive: true });
    await mount('--rbind', '/sys/fs/cgroup', carried);
    await mount('-t', 'sysfs', 'sysfs', '/sys');
    await mount('--rbind', carried, '/sys/fs/cgroup');
    await this.must(['umount', '-l', carried]);
    await mount('-t', 'bpf', 'bpf', '/sys/fs/bpf');
    const root = `/proc/${this.#pid}/root`;
    for (const made of ['run/docker', 'run/lock', 'var/lib/drayage'])
      mkdirSync(path.join(root, made), { recursive: true });
    await mount('--bind', path.join(folder, 'drayage'), '/var/lib/drayage');
    await mount('--make-rshared', '/');
    writeFileSync(path.join(root, 'etc/hostname'), `${this.name}\n`);
    writeFileSync(path.join(root, 'etc/hosts'), `127.0.0.1 localhost\n::1 localhost\n127.0.1.1 ${this.name}\n`);
  }

  #launch(argv: readonly string[], log: string, env: NodeJS.ProcessEnv): ChildProcess {
    const [file = '', ...args] = argv;
    const output = openSync(path.join(this.folder, log), 'a');
    // A session of its own: Ctrl-C in the terminal reaches the rig only, which then ends things in order.
    const child = spawn(file, args, { stdio: ['ignore', output, output], env, detached: true, cwd: '/' });
    closeSync(output);
    child.unref();
    return child;
  }
}
