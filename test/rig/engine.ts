/** One dockerd with its containerd, inside a host. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { ended, signal, startTime, until } from './command.ts';
import type { Machine } from './machine.ts';
import type { EngineFiles } from './packages.ts';

export interface EngineOptions {
  /** Containers go on while dockerd is down. Default false. */
  readonly liveRestore?: boolean;
  /** Default overlay2; vfs works on anything. */
  readonly storageDriver?: string;
  /** More of daemon.json. */
  readonly daemon?: Readonly<Record<string, unknown>>;
}

export class Engine {
  readonly files: EngineFiles;
  readonly socket: string;
  readonly #machine: Machine;
  readonly #cgroup: string;
  #options: EngineOptions;
  #pid = 0;

  constructor(machine: Machine, files: EngineFiles, cgroup: string, options: EngineOptions) {
    this.#machine = machine;
    this.files = files;
    this.#cgroup = cgroup;
    this.#options = options;
    this.socket = path.join(machine.folder, 'docker.sock');
  }

  /** Pid of dockerd as seen from outside; 0 when it does not run. */
  get pid(): number {
    return this.#pid;
  }

  /** Starts dockerd and waits until it answers. @throws Error with the end of its log when it does not within the deadline. */
  async start(timeoutMs = 30_000): Promise<void> {
    const { folder } = this.#machine;
    writeFileSync(
      path.join(folder, 'daemon.json'),
      JSON.stringify({
        'data-root': path.join(folder, 'docker'),
        'exec-root': '/run/docker',
        pidfile: '/run/docker.pid',
        hosts: [`unix://${this.socket}`],
        'exec-opts': ['native.cgroupdriver=cgroupfs'],
        'cgroup-parent': this.#cgroup,
        'storage-driver': this.#options.storageDriver ?? 'overlay2',
        'live-restore': this.#options.liveRestore ?? false,
        'shutdown-timeout': 5,
        ...this.#options.daemon,
      }),
    );
    const argv = ['dockerd', '--config-file', path.join(folder, 'daemon.json')];
    this.#pid = await this.#machine.spawn(argv, 'dockerd.log');
    try {
      await until('an answer of dockerd', async () => (this.running ? await this.#answers() : 'ended'), {
        timeoutMs,
        everyMs: 30,
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; the end of its log:\n${this.log().slice(-3000)}`);
    }
    if (!this.running) throw new Error(`dockerd ended at its start; the end of its log:\n${this.log().slice(-3000)}`);
  }

  get running(): boolean {
    return this.#pid !== 0 && startTime(this.#pid) !== undefined;
  }

  /** SIGTERM, and SIGKILL after the deadline. */
  async stop(timeoutMs = 30_000): Promise<void> {
    if (!this.running) return;
    signal(this.#pid, 'SIGTERM');
    try {
      await ended(this.#pid, timeoutMs);
    } catch (error) {
      await this.kill9();
      throw error;
    }
    this.#pid = 0;
  }

  /** SIGKILL, as a crash of the engine would look; resolves when the process was reaped. */
  async kill9(): Promise<void> {
    if (!this.running) return;
    signal(this.#pid, 'SIGKILL');
    await ended(this.#pid, 10_000);
    this.#pid = 0;
  }

  /** Stops in order and starts again, with other options if they are given. */
  async restart(options?: EngineOptions): Promise<void> {
    await this.stop();
    if (options) this.#options = options;
    await this.start();
  }

  /** Everything that dockerd and its containerd have logged, over all starts. */
  log(): string {
    return readFileSync(path.join(this.#machine.folder, 'dockerd.log'), 'utf8');
  }

  /** The host lost power: there is no process any more. */
  forget(): void {
    this.#pid = 0;
  }

  /** Asks the engine's API, such as `/containers/web/json`. @throws Error with the engine's words when it refuses. */
  async get(path: string, timeoutMs = 10_000): Promise<unknown> {
    const { status, text } = await this.#request(path, timeoutMs);
    if (status !== 200) throw new Error(`dockerd answered ${status} to ${path}: ${text.trim()}`);
    return JSON.parse(text) as unknown;
  }

  async #answers(): Promise<boolean> {
    return await this.#request('/_ping', 2_000).then(
      ({ status }) => status === 200,
      () => false,
    );
  }

  async #request(path: string, timeoutMs: number): Promise<{ readonly status: number; readonly text: string }> {
    return await new Promise((resolve, reject) => {
      const call = request({ socketPath: this.socket, path, timeout: timeoutMs }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      call.on('timeout', () => call.destroy(new Error(`dockerd: no answer to ${path} within ${timeoutMs} ms`)));
      call.on('error', reject);
      call.end();
    });
  }
}
