/** A managed plugin on one host: installation, its process, its socket, its log. */

import { readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { PLUGIN_NAME } from '../../network-plugin/options.ts';
import { ended, isGone, type Outcome, signal, startTime, until } from './command.ts';
import type { Host } from './host.ts';
import { withPossibleRights } from './rights.ts';

export interface PluginSettings {
  /** Name of the plugin. Default drayage/network. The volume plugin is called cloudvol, so that `-d cloudvol` finds it. */
  readonly name?: string;
  /** Settings for `docker plugin set`, such as { PROVIDER: 'etcd' }. Keys may be config paths like drayage.source. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default true. */
  readonly enable?: boolean;
}

/** Answer of a direct call to a plugin's socket. */
export interface CallAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly ms: number;
}

export class InstalledPlugin {
  readonly host: Host;
  readonly name: string;
  readonly id: string;

  private constructor(host: Host, name: string, id: string) {
    this.host = host;
    this.name = name;
    this.id = id;
  }

  static async install(host: Host, folder: string, settings: PluginSettings): Promise<InstalledPlugin> {
    const name = settings.name ?? PLUGIN_NAME;
    if (!host.takeSeeded(folder, name)) {
      await withPossibleRights(folder, async (possible) => {
        await host.dockerMust(['plugin', 'create', name, possible], { timeoutMs: 120_000 });
      });
    }
    const plugin = await InstalledPlugin.find(host, name);
    await plugin.set(settings.env ?? {});
    if (settings.enable ?? true) await plugin.enable();
    return plugin;
  }

  /** A plugin that is installed already. */
  static async find(host: Host, name = PLUGIN_NAME): Promise<InstalledPlugin> {
    const id = await host.dockerMust(['plugin', 'inspect', '-f', '{{.Id}}', name]);
    return new InstalledPlugin(host, name, id);
  }

  /** `docker plugin set`; only possible while it is disabled. */
  async set(env: Readonly<Record<string, string>>): Promise<void> {
    const pairs = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    if (pairs.length > 0) await this.host.dockerMust(['plugin', 'set', this.name, ...pairs]);
  }

  /** `docker plugin enable`; the error carries the plugin's own log, in which the reason stands. */
  async enable(): Promise<Outcome> {
    const outcome = await this.host.docker(['plugin', 'enable', this.name], { timeoutMs: 60_000 });
    if (outcome.code === 0) return outcome;
    const log = this.log().slice(-20).join('\n');
    throw new Error(`${this.host.name}: docker plugin enable ${this.name}: ${outcome.stderr.trim()}\n${log}`);
  }

  /** `docker plugin disable`, with -f by default. */
  async disable(force = true): Promise<Outcome> {
    return await this.host.docker(['plugin', 'disable', ...(force ? ['-f'] : []), this.name], { timeoutMs: 60_000 });
  }

  /** `docker plugin rm -f`. */
  async remove(): Promise<Outcome> {
    return await this.host.docker(['plugin', 'rm', '-f', this.name], { timeoutMs: 60_000 });
  }

  /** Pid of its first process as seen from outside; undefined when it does not run. */
  pid(): number | undefined {
    // Where containerd's runtime v2 keeps the task of a managed plugin; the pid in it is one of the host's PID namespace.
    const task = `run/docker/containerd/daemon/io.containerd.runtime.v2.task/plugins.moby/${this.id}/init.pid`;
    const inner = readIfThere(path.join(this.#root, task))?.trim();
    return inner ? outsidePid(this.host.machine.pid, inner) : undefined;
  }

  /** Pid of what answers the engine: its process, or of a plugin whose first process only starts others, the one that it has started. */
  driverPid(): number | undefined {
    const pid = this.pid();
    if (pid === undefined || !isShell(pid)) return pid;
    const children = readIfThere(`/proc/${pid}/task/${pid}/children`)?.trim().split(' ').map(Number) ?? [];
    return children.find((child) => !isShell(child));
  }

  /** SIGKILL to what answers the engine, which its first process starts again; resolves when it is gone. */
  async killDriver9(): Promise<void> {
    const pid = this.driverPid();
    if (pid === undefined) throw new Error(`${this.name} does not run on ${this.host.name}`);
    signal(pid, 'SIGKILL');
    await ended(pid, 10_000);
  }

  /** SIGKILL to its first process, as a crash would look; resolves when it is gone. The engine starts it again by itself. */
  async kill9(): Promise<void> {
    const pid = this.pid();
    if (pid === undefined) throw new Error(`${this.name} does not run on ${this.host.name}`);
    signal(pid, 'SIGKILL');
    await ended(pid, 10_000);
  }

  /** Resolves with its pid when it runs and answers: after `kill9` the engine starts it again by itself. */
  async untilRunning(timeoutMs = 15_000): Promise<number> {
    return await until(
      `${this.name} on ${this.host.name}`,
      async () => {
        const pid = this.pid();
        // While it starts, there is no socket or nobody listens.
        const answer = pid && (await this.call('Plugin.Activate', {}, 2_000).catch(() => undefined));
        return answer ? pid : undefined;
      },
      { timeoutMs },
    );
  }

  /** What it wrote to its output, line by line, as found in the engine's log; over all of its starts. */
  log(): string[] {
    return this.host.engine
      .log()
      .split('\n')
      .filter((line) => line.includes(`plugin=${this.id}`))
      .map((line) => {
        const quoted = /msg=("(?:[^"\\]|\\.)*")/.exec(line)?.[1];
        if (quoted) return unquote(quoted);
        return /msg=(\S+)/.exec(line)?.[1] ?? line;
      });
  }

  /**
   * Calls a method such as NetworkDriver.CreateNetwork over the plugin's socket, as the engine does.
   * A string body is sent as it is. @throws Error when there is no socket or the answer takes longer than the deadline.
   */
  async call(method: string, body: unknown = {}, timeoutMs = 30_000): Promise<CallAnswer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const started = performance.now();
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const call = request(
        { socketPath: this.socket(), path: `/${method}`, method: 'POST', timeout: timeoutMs },
        (response) => {
          let received = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            received += chunk;
          });
          response.on('error', reject);
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text: received }));
        },
      );
      call.on('timeout', () => call.destroy(new Error(`${method}: no answer within ${timeoutMs} ms`)));
      call.on('error', reject);
      call.end(text);
    });
    const ms = performance.now() - started;
    return { status: answer.status, body: parseOrText(answer.text), ms };
  }

  /** Path of the plugin's socket, short enough for a unix socket address. */
  socket(): string {
    const folder = path.join(this.#root, 'run/docker/plugins', this.id);
    const file = readdirSync(folder).find((entry) => entry.endsWith('.sock'));
    if (!file) throw new Error(`${this.name} on ${this.host.name} has no socket in ${folder}`);
    const short = path.join(this.host.machine.folder, `p-${this.id.slice(0, 12)}`);
    rmSync(short, { force: true });
    symlinkSync(folder, short);
    return path.join(short, file);
  }

  get #root(): string {
    return `/proc/${this.host.machine.pid}/root`;
  }
}

const isShell = (pid: number): boolean => /^(sh|dash)\n$/.test(readIfThere(`/proc/${pid}/comm`) ?? '');

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** The engine quotes Go strings; those are JSON but for a few escapes. */
function unquote(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch (error) {
    if (error instanceof SyntaxError) return text.slice(1, -1);
    throw error;
  }
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** Translates a pid of a machine's PID namespace: the process below `init` whose second NSpid is `inner`. */
function outsidePid(init: number, inner: string): number | undefined {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const status = readIfThere(`/proc/${entry}/status`);
    const pids = status && /^NSpid:\t(.*)$/m.exec(status)?.[1]?.split('\t');
    // A process that ended may still be listed until it is reaped.
    if (startTime(Number(entry)) === undefined) continue;
    if (pids && pids.length > 1 && pids[1] === inner && isBelow(Number(entry), init)) return Number(entry);
  }
  return undefined;
}

function isBelow(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === ancestor) return true;
    const status = readIfThere(`/proc/${at}/status`);
    at = Number((status && /^PPid:\t(\d+)$/m.exec(status)?.[1]) ?? 0);
  }
  return false;
}
