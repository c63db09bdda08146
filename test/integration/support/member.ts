/** A host with the network plugin on a real engine. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { ask } from '../../../bin/cli/client.ts';
import { main as drayage } from '../../../bin/cli/main.ts';
import { type Outcome, until } from '../../rig/command.ts';
import type { Etcd } from '../../rig/etcd.ts';
import type { Host } from '../../rig/host.ts';
import { WHOAMI } from '../../rig/images.ts';
import type { InstalledPlugin } from '../../rig/plugin.ts';
import { leftovers } from './leftovers.ts';

export const IMAGE = 'drayage/box:1';

/** One line of `drayage reconcile`. */
export interface DriftLine {
  readonly What: string;
  readonly Repaired: boolean;
}

/** One line of `drayage networks`. */
export interface NetworkLine {
  readonly Network: string;
  readonly Prefixes: readonly string[];
  readonly Pools: readonly string[];
  readonly State: string;
  readonly Endpoints: number;
  readonly Masquerade: string;
  readonly Ingress: string;
  readonly Allow: readonly string[];
  readonly Internal: boolean;
}

/** A part of what `docker inspect` tells of a container. */
export interface Inspected {
  /** `Pid`: 0 when it does not run. */
  readonly State: { readonly Pid: number; readonly Paused: boolean };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, Readonly<Record<string, string>>>> };
}

/** A host of the cluster with its plugin. */
export class Member {
  readonly host: Host;
  readonly plugin: InstalledPlugin;
  readonly #etcd: Etcd | undefined;
  readonly #busybox: string;
  readonly #serving = new Set<number>();

  constructor(
    host: Host,
    plugin: InstalledPlugin,
    tools: { readonly etcd: Etcd | undefined; readonly busybox: string },
  ) {
    this.host = host;
    this.plugin = plugin;
    this.#etcd = tools.etcd;
    this.#busybox = tools.busybox;
  }

  get name(): string {
    return this.host.name;
  }

  /** `docker …`; a failure is an outcome. */
  docker(...args: string[]): Promise<Outcome> {
    return this.host.docker(args);
  }

  /** `docker …`, which must succeed. Its output without the last newline. */
  must(...args: string[]): Promise<string> {
    return this.host.dockerMust(args);
  }

  /** `docker network create -d vpc … <name>`. */
  createNetwork(name: string, ...args: string[]): Promise<string> {
    return this.must('network', 'create', '-d', 'vpc', ...args, name);
  }

  /** A container that does nothing. `args` are for `docker run`, such as `--network web`. */
  box(name: string, ...args: string[]): Promise<string> {
    return this.must('run', '-d', '--init', '--name', name, ...args, IMAGE, 'sleep', 'infinity');
  }

  /** A container that serves /www on port 80; `/cgi-bin/whoami` answers the client's address. */
  async serve(name: string, ...args: string[]): Promise<void> {
    await this.must('run', '-d', '--init', '--name', name, ...args, IMAGE, 'httpd', '-f', '-h', '/www');
    await this.untilServes(name);
  }

  /** Waits until something listens on port 80 in a container's network namespace. */
  async untilServes(container: string): Promise<void> {
    await until(`a server in ${container} on ${this.name}`, async () => {
      const pid = (await this.inspect(container)).State.Pid;
      const sockets = await this.host.exec(['cat', `/proc/${pid}/net/tcp`, `/proc/${pid}/net/tcp6`]);
      return pid !== 0 && /:0050 [0:]+ 0A /m.test(sockets.stdout);
    });
  }

  /** `docker rm -f`, at once: `sleep` and `httpd` would make it wait ten seconds. */
  async remove(...names: string[]): Promise<void> {
    await this.must('rm', '-f', ...names);
  }

  /** What `docker inspect` tells of a container, asked of the engine itself: the client takes 20 times as long. */
  async inspect(container: string): Promise<Inspected> {
    return (await this.host.engine.get(`/containers/${container}/json`)) as Inspected;
  }

  /** The container's address on a network; the first one it has without a network. */
  async address(container: string, network?: string, field = 'IPAddress'): Promise<string> {
    const { Networks: networks } = (await this.inspect(container)).NetworkSettings;
    const chosen = network === undefined ? Object.values(networks)[0] : networks[network];
    return chosen?.[field] ?? '';
  }

  /** Runs a program in a container; a failure is an outcome. */
  inside(container: string, ...argv: string[]): Promise<Outcome> {
    return this.docker('exec', container, ...argv);
  }

  /** Who an HTTP server in a container at `target` (`10.64.0.2`, `10.250.0.11:8080`, `[fd64::2]`) takes `container` for; '' without an answer. */
  async whoami(container: string, target: string): Promise<string> {
    const argv = ['wget', '-T', '2', '-qO-', `http://${target}/cgi-bin/whoami`];
    const host = new URL(`http://${target}`).hostname.replace(/[[\]]/g, '');
    const outcome = isIP(host) ? await this.#fromInside(container, argv) : await this.inside(container, ...argv);
    return outcome?.stdout.trim() ?? '';
  }

  /** The same from the host itself. */
  async whoamiFromHost(target: string): Promise<string> {
    const outcome = await this.host.busybox(['wget', '-T', '2', '-qO-', `http://${target}/cgi-bin/whoami`]);
    return outcome.stdout.trim();
  }

  /** Does a container (`undefined`: the host itself) get an answer to a ping within a second? */
  async pings(container: string | undefined, address: string): Promise<boolean> {
    const argv = ['ping', '-c', '1', '-W', '1', address];
    const outcome = await (container === undefined ? this.host.busybox(argv) : this.#fromInside(container, argv));
    return outcome?.code === 0;
  }

  /**
   * Runs the host's busybox in a container's network namespace, from where its packets are the container's: a tenth of
   * what `docker exec` costs. Undefined where that would fail, too: nothing runs, or nobody knows.
   */
  async #fromInside(container: string, argv: readonly string[]): Promise<Outcome | undefined> {
    const found = await this.inspect(container).catch(() => undefined);
    if (found === undefined || found.State.Pid === 0 || found.State.Paused) return undefined;
    return await this.host.exec(['nsenter', '-t', String(found.State.Pid), '-n', '--', this.#busybox, ...argv]);
  }

  /** A container that runs a line of shell. */
  shell(name: string, line: string, ...args: string[]): Promise<string> {
    return this.must('run', '-d', '--init', '--name', name, ...args, IMAGE, 'sh', '-c', line);
  }

  /** Serves `/cgi-bin/whoami` on the host itself, as long as it is up. Repeating it is fine. */
  async serveOnHost(port: number): Promise<void> {
    if (this.#serving.has(port)) return;
    this.#serving.add(port);
    const folder = join(this.host.machine.folder, 'www');
    const script = join(folder, 'cgi-bin/whoami');
    mkdirSync(join(folder, 'cgi-bin'), { recursive: true });
    writeFileSync(script, WHOAMI, { mode: 0o755 });
    await this.host.machine.spawn([this.#busybox, 'httpd', '-f', '-p', String(port), '-h', folder], 'httpd.log');
    await until(`an answer on port ${port} of ${this.name}`, async () => {
      return (await this.whoamiFromHost(`127.0.0.1:${port}`)) !== '';
    });
  }

  /** Runs a program of the host (its `ping` knows more than the image's) in a container's network namespace. */
  async hostNamespaceOf(container: string, argv: readonly string[]): Promise<Outcome> {
    const { Pid } = (await this.inspect(container)).State;
    return await this.host.exec(['nsenter', '-t', String(Pid), '-n', '--', ...argv]);
  }

  /** The same with a program that goes on, until the host is down. */
  async runInNamespaceOf(container: string, argv: readonly string[]): Promise<void> {
    const { Pid } = (await this.inspect(container)).State;
    await this.host.machine.spawn(['nsenter', '-t', String(Pid), '-n', '--', ...argv], `${container}.log`);
  }

  /** What `drayage networks` tells, of all `vpc` networks or of the one with this name. */
  async networks(name?: string): Promise<readonly NetworkLine[]> {
    const { out } = await this.drayage('networks', '--json');
    const all = (JSON.parse(out) as { Networks: NetworkLine[] }).Networks;
    if (name === undefined) return all;
    const id = await this.must('network', 'inspect', '-f', '{{.Id}}', name);
    return all.filter(({ Network }) => Network === id);
  }

  /** Removes all containers and all `vpc` networks. */
  async clear(): Promise<void> {
    const containers = (await this.must('ps', '-aq')).split('\n').filter((id) => id !== '');
    if (containers.length > 0) await this.must('rm', '-f', ...containers);
    const networks = (await this.must('network', 'ls', '-q', '-f', 'driver=vpc')).split('\n').filter((id) => id !== '');
    if (networks.length > 0) await this.must('network', 'rm', ...networks);
  }

  /** The `drayage` command on this host. */
  async drayage(...args: string[]): Promise<{ code: number; out: string; error: string }> {
    const lines = { out: [] as string[], error: [] as string[] };
    const code = await drayage(
      [...args, '--state', this.host.stateFolder],
      {},
      {
        out: (text) => lines.out.push(text),
        error: (text) => lines.error.push(text),
      },
    );
    return { code, out: lines.out.join('\n'), error: lines.error.join('\n') };
  }

  /** One pass of the repair loop, now. Resolves with what was found. */
  async reconcile(dryRun = false): Promise<readonly DriftLine[]> {
    const socket = join(this.host.stateFolder, 'network/admin.sock');
    const answer = await ask(socket, '/Drayage.Reconcile', { DryRun: dryRun }, 60_000);
    return answer.Drift as readonly DriftLine[];
  }

  /** See `leftovers`. */
  leftovers(): Promise<string[]> {
    return leftovers(this.host, this.#etcd);
  }
}
