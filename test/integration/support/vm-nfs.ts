/** What tests of shares in virtual machines ask of the hosts: a few with the plugin, and the last machine as NFS server. */

import type { ErrorCode } from '../../../shared/errors.ts';
import { failure, type Outcome, until } from '../../rig/command.ts';
import { IMAGE } from '../../rig/vm/guest.ts';
import type { VirtualMachine } from '../../rig/vm/machine.ts';
import { NfsServer } from '../../rig/vm/nfs-server.ts';
import { type Vms, vmsFor } from '../../rig/vm/rig.ts';
import { pluginFolder } from './plugin-folder.ts';
import { refused } from './refusal.ts';

const START_TRIES = 5;

/** Name of the export that volumes are on which name none. */
export const SHARE = 'share';

export interface NfsRig {
  readonly vms: Vms;
  readonly server: NfsServer;
  readonly hosts: readonly VirtualMachine[];
}

/**
 * So many hosts whose volumes are on a share of one server. They have no programs of NFS, as few hosts do.
 * @param versions which the server does not have, as options of rpc.nfsd(8) such as `-N 4.2`.
 */
export async function nfsRigFor(
  t: { teardown(fn: () => Promise<void>): void },
  { hosts: count, versions = '' }: { readonly hosts: number; readonly versions?: string },
): Promise<NfsRig> {
  const vms = await vmsFor(t, { machines: count + 1, plugin: await pluginFolder('volume') });
  const hosts = Array.from({ length: count }, (_, i) => vms.machine(i + 1));
  const serving = NfsServer.start(vms, count + 1, versions).then(async (server) => {
    await server.share(SHARE);
    return server;
  });
  const id = NfsServer.idOf(vms.machine(count + 1), SHARE);
  const enabling = hosts.map(async (host) => {
    await host.must(['sh', '-c', 'rm -f /sbin/mount.nfs* /sbin/umount.nfs* /usr/sbin/nfs* /sbin/request-key']);
    await host.enablePlugin({ DEFAULT_TYPE: 'nfs', NFS_SHARE: id });
  });
  const [server] = await Promise.all([serving, ...enabling]);
  return { vms, server, hosts };
}

/** A container that waits for what it is to do. */
export class Box {
  readonly machine: VirtualMachine;
  readonly name: string;

  private constructor(machine: VirtualMachine, name: string) {
    this.machine = machine;
    this.name = name;
  }

  /** @param mounts such as `data:/data`. */
  static async start(machine: VirtualMachine, name: string, mounts: readonly string[]): Promise<Box> {
    const volumes = mounts.flatMap((mount) => ['-v', mount]);
    const driver = ['--volume-driver', 'cloudvol'];
    const how = ['-d', '--init', '--name', name, '--network', 'host'];
    const run = ['run', ...how, ...driver, ...volumes, IMAGE, 'sleep', '3600'];
    for (let tries = 1; ; tries += 1) {
      const outcome = await machine.docker(run);
      if (outcome.code === 0) return new Box(machine, name);
      // An emulated machine beside others may take longer for a mount than Docker waits: the same command joins it.
      if (!outcome.stderr.includes('STILL_WORKING') || tries === START_TRIES)
        throw failure([`${machine.name}: docker`, ...run], outcome);
      await machine.docker(['rm', '-f', name]);
    }
  }

  /** Runs a shell script in it. A failure is an outcome. */
  exec(script: string, timeoutMs = 60_000): Promise<Outcome> {
    return this.machine.docker(['exec', this.name, 'sh', '-c', script], { timeoutMs });
  }

  async sh(script: string, timeoutMs = 60_000): Promise<string> {
    return await this.machine.dockerMust(['exec', this.name, 'sh', '-c', script], { timeoutMs });
  }

  /** Starts a shell script in it that goes on. */
  async begin(script: string): Promise<void> {
    await this.machine.dockerMust(['exec', '-d', this.name, 'sh', '-c', script]);
  }

  async remove(timeoutMs = 60_000): Promise<void> {
    await this.machine.dockerMust(['rm', '-f', this.name], { timeoutMs });
  }
}

/** `docker volume create` with these options, as they are typed after `-o`. */
export const create = (host: VirtualMachine, name: string, ...options: readonly string[]): Promise<Outcome> =>
  host.docker(['volume', 'create', '-d', 'cloudvol', ...options.flatMap((option) => ['-o', option]), name]);

export async function createMust(host: VirtualMachine, name: string, ...options: readonly string[]): Promise<void> {
  await host.dockerMust(['volume', 'create', '-d', 'cloudvol', ...options.flatMap((option) => ['-o', option]), name]);
}

/** What `docker volume inspect` shows as its status. */
export async function statusOf(host: VirtualMachine, name: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await host.dockerMust(['volume', 'inspect', '-f', '{{json .Status}}', name], { timeoutMs: 20_000 });
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

const SOCKET = '/run/docker/plugins/*/cloudvol.sock';

/** Exit code of a container; undefined: it runs. Asked past the network of its host, which may be away. */
export async function exitOf(host: VirtualMachine, name: string): Promise<string | undefined> {
  const call = ['curl', '-s', '--unix-socket', '/run/docker.sock', `http://d/containers/${name}/json`];
  const { State: state } = JSON.parse(await host.must(call, { timeoutMs: 20_000 })) as {
    readonly State: { readonly Running: boolean; readonly ExitCode: number };
  };
  return state.Running ? undefined : String(state.ExitCode);
}

/** Calls the plugin as the engine does, past what the engine remembers. */
export async function call(
  host: VirtualMachine,
  method: string,
  body: object,
): Promise<Readonly<Record<string, unknown>>> {
  const script = `exec curl -sS --unix-socket ${SOCKET} -d @- http://d/VolumeDriver.${method}`;
  return JSON.parse(await host.must(['sh', '-c', script], { input: JSON.stringify(body) })) as Readonly<
    Record<string, unknown>
  >;
}

/** Many such calls, eight at a time. Returns the errors among the answers. */
export async function callAll(host: VirtualMachine, method: string, bodies: readonly object[]): Promise<string[]> {
  const socket = await host.must(['sh', '-c', `echo ${SOCKET}`]);
  const requests = bodies.map((body) =>
    [
      `url = "http://d/VolumeDriver.${method}"`,
      `unix-socket = "${socket}"`,
      `data = ${JSON.stringify(JSON.stringify(body))}`,
      'write-out = "\\n"',
    ].join('\n'),
  );
  const curl = ['curl', '-sS', '--parallel', '--parallel-max', '8', '-K', '-'];
  const answers = await host.must(curl, { input: requests.join('\nnext\n'), timeoutMs: 120_000 });
  return answers.split('\n').filter((line) => line.includes('Err') && !line.includes('"Err":""'));
}

/** Appends blocks to a file of a volume, each durably, and remembers on its host what it has appended. */
export class BlockWriter {
  readonly #box: Box;

  private constructor(box: Box) {
    this.#box = box;
  }

  /** Ends with the first error, which it remembers, too. @param file on the volume. */
  static async start(box: Box, file: string): Promise<BlockWriter> {
    await box.begin(`
      n=0
      until [ -e /tmp/stop ]; do
        n=$((n + 1))
        { echo "block $n"; head -c 30000 /dev/urandom; } > /tmp/block
        dd if=/tmp/block of=${file} oflag=append conv=notrunc,fsync bs=64k 2> /tmp/error || { touch /tmp/failed; exit 1; }
        cat /tmp/block >> /tmp/written
        echo $n > /tmp/count
      done
      touch /tmp/done`);
    const writer = new BlockWriter(box);
    await writer.untilBeyond(0);
    return writer;
  }

  /** Blocks that were confirmed. */
  async count(): Promise<number> {
    return Number(await this.#box.sh('cat /tmp/count 2> /dev/null || echo 0'));
  }

  /** Resolves when there are more than `count`. */
  async untilBeyond(count: number, timeoutMs = 60_000): Promise<void> {
    const beyond = async (): Promise<boolean> => {
      const failed = await this.#box.sh('[ ! -e /tmp/failed ] || cat /tmp/error');
      if (failed !== '') throw new Error(`the writer has ended: ${failed}`);
      return (await this.count()) > count;
    };
    await until(`more than ${count} blocks`, beyond, { timeoutMs, everyMs: 300 });
  }

  /** Resolves with the number of blocks and the checksum of all of them, as they should be on the share. */
  async stop(timeoutMs = 60_000): Promise<{ readonly blocks: number; readonly checksum: string }> {
    const ends = 'touch /tmp/stop; until [ -e /tmp/done ] || [ -e /tmp/failed ]; do sleep 0.1; done';
    await this.#box.sh(`${ends}; [ ! -e /tmp/failed ] || { cat /tmp/error >&2; exit 1; }`, timeoutMs);
    return { blocks: await this.count(), checksum: await this.#box.sh('sha256sum < /tmp/written') };
  }
}

/** Asserts that a command was refused in these terms in less than 5 s, where the kernel's mount alone would wait for minutes. */
export function refusedSoon(
  t: Parameters<typeof refused>[0],
  outcome: Outcome,
  code: ErrorCode,
  ...words: readonly string[]
): void {
  refused(t, outcome, code, ...words);
  t.comment(`${code} after ${Math.round(outcome.ms)} ms`);
  t.ok(outcome.ms < 5_000, `after ${Math.round(outcome.ms)} ms`);
}
