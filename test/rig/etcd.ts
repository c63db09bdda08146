/** A real etcd (Debian's), as one member, with or without TLS and users; it can be stopped, killed and started again with its data. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Certificates, makeCertificates } from './certificates.ts';
import { ended, must, type Outcome, pidOf, run, signal, startTime, until } from './command.ts';
import type { Tools } from './packages.ts';

export interface EtcdOptions {
  /** Serve with TLS and demand a client certificate. Default false. */
  readonly tls?: boolean;
  /** Switch on authentication: user root with this password, and user drayage with password "drayage" and all keys below /drayage. */
  readonly rootPassword?: string;
}

/** Where an etcd runs: its address, its folder, and how programs are run there. */
export interface EtcdPlace {
  /** IPv4 address to listen on. */
  readonly address: string;
  /** TCP port; the next one is used between members. */
  readonly port: number;
  readonly folder: string;
  readonly tools: Tools;
  /** Starts a program that goes on; resolves with its pid. */
  readonly spawn: (argv: readonly string[], log: string, env: NodeJS.ProcessEnv) => Promise<number>;
  /** Turns an argument array into one that runs there. */
  readonly inside: (argv: readonly string[]) => string[];
}

/** A key of etcd with its value as text. */
export interface EtcdEntry {
  readonly key: string;
  readonly value: string;
  readonly lease: bigint;
}

export class Etcd {
  readonly endpoint: string;
  readonly certificates: Certificates | undefined;
  readonly #place: EtcdPlace;
  readonly #options: EtcdOptions;
  #pid = 0;
  #authenticated = false;

  private constructor(place: EtcdPlace, options: EtcdOptions, certificates: Certificates | undefined) {
    this.#place = place;
    this.#options = options;
    this.certificates = certificates;
    this.endpoint = `${options.tls ? 'https' : 'http'}://${place.address}:${place.port}`;
  }

  static async start(place: EtcdPlace, options: EtcdOptions = {}): Promise<Etcd> {
    mkdirSync(place.folder, { recursive: true });
    const files = options.tls
      ? await makeCertificates(path.join(place.folder, 'tls'), [place.address, '127.0.0.1'])
      : undefined;
    const etcd = new Etcd(place, options, files);
    await etcd.start();
    if (options.rootPassword !== undefined) await etcd.#switchOnUsers(options.rootPassword);
    return etcd;
  }

  get running(): boolean {
    return this.#pid !== 0 && startTime(this.#pid) !== undefined;
  }

  get pid(): number {
    return this.#pid;
  }

  /** Password of user root, when users were asked for. */
  get rootPassword(): string | undefined {
    return this.#options.rootPassword;
  }

  /** Starts the server, on the data of the last start if there is any, and waits until it serves. */
  async start(timeoutMs = 20_000): Promise<void> {
    const { folder, address, port, tools } = this.#place;
    const files = this.certificates;
    const peer = `http://127.0.0.1:${port + 1}`;
    const argv = [
      tools.etcd,
      ...['--name', 'rig', '--data-dir', path.join(folder, 'data')],
      ...['--listen-client-urls', this.endpoint, '--advertise-client-urls', this.endpoint],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `rig=${peer}`],
      ...['--heartbeat-interval', '100', '--election-timeout', '500', '--log-level', 'warn'],
      ...(files
        ? [
            '--cert-file',
            files.serverCert,
            '--key-file',
            files.serverKey,
            '--client-cert-auth',
            '--trusted-ca-file',
            files.ca,
          ]
        : []),
    ];
    // Debian's etcd refuses to run on arm64 without this word.
    const env = process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {};
    this.#pid = await this.#place.spawn(argv, 'etcd.log', env);
    await until(
      `etcd on ${address}:${port}`,
      async () => {
        if (!this.running) throw new Error(`etcd ended at its start:\n${this.log().slice(-2000)}`);
        return (await this.ctl(['endpoint', 'health'])).code === 0;
      },
      { timeoutMs, everyMs: 30 },
    );
  }

  /** SIGTERM: the server ends in order. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** SIGKILL. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Runs etcdctl (API 3) against it as root; a failure is an outcome. */
  async ctl(args: readonly string[], options: { input?: string } = {}): Promise<Outcome> {
    return await run(this.#ctl(args), {
      timeoutMs: 10_000,
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
      ...options,
    });
  }

  /** All keys below a prefix. */
  async list(prefix: string): Promise<EtcdEntry[]> {
    const text = await must(this.#ctl(['get', '--prefix', '-w', 'json', prefix]), {
      timeoutMs: 10_000,
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
    });
    // Lease numbers do not fit a JavaScript number: read them as text.
    const exact = text.replace(/"lease":(\d+)/g, '"lease":"$1"');
    const answer = JSON.parse(exact) as { kvs?: { key: string; value?: string; lease?: string }[] };
    return (answer.kvs ?? []).map((row) => ({
      key: Buffer.from(row.key, 'base64').toString(),
      value: Buffer.from(row.value ?? '', 'base64').toString(),
      lease: BigInt(row.lease ?? '0'),
    }));
  }

  log(): string {
    return readFileSync(path.join(this.#place.folder, 'etcd.log'), 'utf8');
  }

  #ctl(args: readonly string[]): string[] {
    const files = this.certificates;
    const secrets = files ? ['--cacert', files.ca, '--cert', files.clientCert, '--key', files.clientKey] : [];
    const user = this.#authenticated ? ['--user', `root:${this.#options.rootPassword}`] : [];
    const program = [this.#place.tools.etcdctl, '--endpoints', this.endpoint, '--command-timeout', '5s'];
    return this.#place.inside([...program, ...secrets, ...user, ...args]);
  }

  async #switchOnUsers(password: string): Promise<void> {
    for (const args of [
      ['user', 'add', `root:${password}`],
      ['user', 'grant-role', 'root', 'root'],
      ['user', 'add', 'drayage:drayage'],
      ['role', 'add', 'drayage'],
      ['role', 'grant-permission', 'drayage', '--prefix=true', 'readwrite', '/drayage'],
      ['user', 'grant-role', 'drayage', 'drayage'],
      ['auth', 'enable'],
    ]) {
      const outcome = await this.ctl(args);
      if (outcome.code !== 0 && !outcome.stderr.includes('already exists')) {
        throw new Error(`etcdctl ${args.slice(0, 2).join(' ')}: ${outcome.stderr.trim()}`);
      }
    }
    this.#authenticated = true;
  }

  async #end(name: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    signal(this.#pid, name);
    await ended(this.#pid, 10_000);
    this.#pid = 0;
  }
}

/** Starts an etcd on the loopback address of the machine itself, for tests without a rig. End it with `stop` or `kill9`. */
export async function startLocalEtcd(
  folder: string,
  port: number,
  tools: Tools,
  options: EtcdOptions = {},
): Promise<Etcd> {
  const spawnHere = async (argv: readonly string[], log: string, env: NodeJS.ProcessEnv): Promise<number> => {
    const output = openSync(path.join(folder, log), 'a');
    // The kernel ends it when this process dies, however it dies.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...argv], {
      stdio: ['ignore', output, output],
      env: { PATH: process.env.PATH, ...env },
    });
    closeSync(output);
    child.unref();
    return await pidOf(child, 'etcd');
  };
  return await Etcd.start(
    { address: '127.0.0.1', port, folder, tools, spawn: spawnHere, inside: (argv) => [...argv] },
    options,
  );
}
