/** Who mounts buckets: s3fs, rclone and geesefs as their users start them, each a program in the foreground. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { childrenOf, ended, run, signal, until } from '../rig/command.ts';
import type { ObjectServer } from './object-server.ts';

/** A mounted part of a bucket. */
export interface BucketMount {
  readonly target: string;
  /** Processes that serve it. */
  pids(): readonly number[];
  /** Unmounts it, with all that it has kept on this machine. */
  end(): Promise<void>;
}

export interface Mounter {
  readonly name: string;
  /** Undefined: it is not to be had here. */
  version(): Promise<string | undefined>;
  /** `prefix` is a folder of the bucket that is there. */
  mount(server: ObjectServer, prefix: string): Promise<BucketMount>;
}

const START_MS = 30_000;
const END_MS = 120_000;

const isMounted = (target: string): boolean => readFileSync('/proc/self/mounts', 'utf8').includes(` ${target} fuse`);

class ProgramMount implements BucketMount {
  readonly target: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(folder: string, child: ChildProcess) {
    this.#folder = folder;
    this.target = path.join(folder, 'mount');
    this.#child = child;
  }

  /** `argv` is told the folder to mount at and one for what it keeps. */
  static async start(
    name: string,
    argv: (target: string, own: string) => Promise<readonly string[]> | readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<ProgramMount> {
    const folder = await mkdtemp(path.join(tmpdir(), `drayage-bench-${name}-`));
    const [target, own] = [path.join(folder, 'mount'), path.join(folder, 'own')];
    await mkdir(target);
    await mkdir(own);
    const [program = '', ...args] = await argv(target, own);
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: own, TMPDIR: own, ...env },
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2_000);
    });
    const mount = new ProgramMount(folder, child);
    try {
      const there = async (): Promise<boolean> => {
        if (child.exitCode !== null) throw new Error(`${name} has ended with ${child.exitCode}: ${said}`);
        return isMounted(target);
      };
      await until(`the mount of ${name}`, there, { timeoutMs: START_MS, everyMs: 20 });
    } catch (error) {
      await mount.end();
      throw error;
    }
    return mount;
  }

  pids(): readonly number[] {
    const { pid } = this.#child;
    return pid === undefined || this.#child.exitCode !== null ? [] : [pid, ...childrenOf(pid)];
  }

  async end(): Promise<void> {
    const { pid } = this.#child;
    if (isMounted(this.target)) await run(['umount', '-i', this.target], { timeoutMs: END_MS });
    if (isMounted(this.target)) await run(['umount', '-i', '-l', this.target]);
    if (pid !== undefined && this.#child.exitCode === null) {
      await ended(pid, 10_000).catch(async () => {
        signal(pid, 'SIGKILL');
        await ended(pid, 10_000);
      });
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The first line of what a program says of itself, when it is there. */
async function firstLine(argv: readonly [string, ...string[]]): Promise<string | undefined> {
  const found = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(path.join(folder, argv[0])));
  if (!found) return undefined;
  const { stdout, stderr } = await run(argv);
  return `${stdout}\n${stderr}`.trim().split('\n')[0]?.slice(0, 80);
}

export const PEERS: readonly Mounter[] = [
  {
    name: 's3fs',
    version: () => firstLine(['s3fs', '--version']),
    mount: ({ endpoint, bucket, key }, prefix) =>
      ProgramMount.start(
        's3fs',
        async (target, own) => {
          const passwords = path.join(own, 'passwords');
          await writeFile(passwords, `${key.id}:${key.secret}\n`, { mode: 0o600 });
          const options = [
            'use_path_request_style',
            'endpoint=us-east-1',
            `url=${endpoint}`,
            `passwd_file=${passwords}`,
          ];
          return ['s3fs', `${bucket}:/${prefix}`, target, '-f', ...options.flatMap((option) => ['-o', option])];
        },
        {},
      ),
  },
  {
    name: 'rclone',
    version: () => firstLine(['rclone', 'version']),
    mount: ({ endpoint, bucket, key }, prefix) =>
      ProgramMount.start(
        'rclone',
        (target, own) => {
          const cache = ['--vfs-cache-mode', 'full', '--cache-dir', path.join(own, 'cache')];
          return ['rclone', 'mount', `sim:${bucket}/${prefix}`, target, ...cache];
        },
        {
          RCLONE_CONFIG: '/dev/null',
          RCLONE_CONFIG_SIM_TYPE: 's3',
          RCLONE_CONFIG_SIM_PROVIDER: 'Other',
          RCLONE_CONFIG_SIM_REGION: 'us-east-1',
          RCLONE_CONFIG_SIM_ENDPOINT: endpoint,
          RCLONE_CONFIG_SIM_ACCESS_KEY_ID: key.id,
          RCLONE_CONFIG_SIM_SECRET_ACCESS_KEY: key.secret,
        },
      ),
  },
  {
    // In no registry of Debian's or npm's: measured where its program is on the PATH.
    name: 'geesefs',
    version: () => firstLine(['geesefs', '--version']),
    mount: ({ endpoint, bucket, key }, prefix) =>
      ProgramMount.start(
        'geesefs',
        (target) => ['geesefs', '-f', '--endpoint', endpoint, '--region', 'us-east-1', `${bucket}:${prefix}`, target],
        { AWS_ACCESS_KEY_ID: key.id, AWS_SECRET_ACCESS_KEY: key.secret },
      ),
  },
];
