import { basename } from 'node:path';
import { type Context, newContext, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { formatMountOptions } from './mount-options.ts';
import type { Looked } from './preflight.ts';
import type { MountOptions, NfsVersion, Share } from './share.ts';
import { mountOptionsFor } from './vendors.ts';

/**
 * mount(8) and umount(8) of util-linux for shares. `-i`: the kernel mounts by itself, without the programs of nfs-utils;
 * what those would find out for it (the address, versions, ports) is told to it. `-c`: paths are taken as they are, for
 * looking at one could wait for a server.
 */

/** What both programs end with when the kernel refused. */
const REFUSED = 32;
const ANSWERED = { allow: [0, REFUSED] } as const;

const IPV6 = /:/;

/** As the kernel's mount table has it. */
export const sourceOf = ({ server, path }: Share): string => `${IPV6.test(server) ? `[${server}]` : server}:${path}`;

/** What the kernel is given. nfs(5); Linux, fs/nfs/fs_context.c */
export const kernelOptions = (share: Share, version: NfsVersion, looked: Looked, given: MountOptions): string => {
  const isSix = IPV6.test(looked.address);
  const { address, ownAddress, port, mountPort } = looked;
  const found: MountOptions = {
    vers: version,
    // Of version 3 the kernel asks the portmapper, which may be closed off, when it is not told.
    ...((port !== 2049 || version === '3') && { port: String(port) }),
    addr: address,
    ...(version === '3'
      ? {
          ...{ mountvers: '3', mountproto: isSix ? 'tcp6' : 'tcp', mountaddr: address },
          ...(mountPort !== undefined && { mountport: String(mountPort) }),
        }
      : { clientaddr: ownAddress }),
  };
  // Nobody gets a device by what others can write.
  const wanted = { nodev: true, ...mountOptionsFor(share.vendor, version, given) } as const;
  return formatMountOptions({ ...wanted, proto: isSix ? 'tcp6' : 'tcp', ...found });
};

/** How the kernel refused a mount. `another`: with another version it may not. */
export interface Refusal {
  readonly error: PluginError;
  readonly another: boolean;
}

/** What mount(8) says of the kernel's errors, first fit. */
const REFUSALS: readonly (readonly [text: RegExp, code: Kind])[] = [
  [/Protocol not supported|Operation not supported/, 'version'],
  [/does not exist|No such file/, 'missing'],
  [/unknown filesystem type/, 'client'],
  [/ermission denied|not permitted|write-protected|must be superuser/, 'refused'],
  [/Stale file handle/, 'missing'],
  [/refused|No route|unreachable/, 'unreachable'],
  [/timed out|Input\/output error/, 'silent'],
  [/bad option/, 'options'],
];

type Kind = 'version' | 'missing' | 'client' | 'refused' | 'unreachable' | 'silent' | 'options';

const refusalOf = (share: Share, version: NfsVersion, options: string, stderr: string): Refusal => {
  const said = stderr.split('\n').find((line) => line.trim() !== '');
  const reason = said?.replace(/^mount: [^:]*: /, '').trim();
  const kind = REFUSALS.find(([text]) => text.test(stderr))?.[1];
  const { id } = share;
  const refused = (what: string): PluginError =>
    new PluginError('BACKEND_REFUSED', { provider: "NFS in this host's kernel", what, reason });
  switch (kind) {
    case 'version':
      return {
        error: new PluginError('SHARE_VERSION', { share: id, offered: 'of another version', wanted: version }),
        another: true,
      };
    // Servers may have another tree of exports for version 3.
    case 'missing':
      return { error: new PluginError('SHARE_MISSING', { share: id, reason }), another: true };
    case 'refused':
      return { error: new PluginError('SHARE_REFUSED', { share: id, reason }), another: false };
    case 'unreachable':
      return {
        error: new PluginError('SHARE_UNREACHABLE', { share: id, port: share.port ?? 2049, reason }),
        another: false,
      };
    case 'silent':
      return { error: new PluginError('SHARE_SILENT', { share: id, reason }), another: false };
    case 'client':
      return { error: refused(`to mount NFS ${version}`), another: true };
    default:
      return { error: refused(`to mount ${id} with ${options}`), another: true };
  }
};

/** Mounts a share at `target`, an empty folder. Undefined: it is mounted. Errors: SHARE_SILENT when it takes too long. */
export const mountShare = async (
  share: Share,
  version: NfsVersion,
  options: string,
  readonly: boolean,
  target: string,
  c: Context,
): Promise<Refusal | undefined> => {
  const type = version === '3' ? 'nfs' : 'nfs4';
  // Without being told, mount(8) mounts for reading what cannot be written.
  const args = ['-i', '-c', readonly ? '-r' : '-w', '-t', type, '-o', options, sourceOf(share), target];
  const { status, stderr } = await exec('mount', args, c, ANSWERED);
  return status === 0 ? undefined : refusalOf(share, version, options, stderr);
};

/** How an attempt to unmount ended; `hanging`: it waits for something, and is left behind. */
export type Unmounting = 'done' | 'busy' | 'hanging';

/** An unmount waits for nothing but a server. */
const PATIENCE_MS = 4_000;

/** Unmounts what is at `target`. Errors: EXEC_FAILED, the context's. */
export const unmountShare = async (target: string, how: readonly ('-f' | '-l')[], c: Context): Promise<Unmounting> => {
  throwIfDone(c);
  const short = newContext(c.log, PATIENCE_MS, c);
  try {
    const { status, stderr } = await exec('umount', ['-i', '-c', ...how, target], short, ANSWERED);
    if (status === 0 || stderr.includes('not mounted')) return 'done';
    if (stderr.includes('busy')) return 'busy';
    const reason = `${basename(target)}: ${stderr.trim().split('\n')[0]}`;
    throw new PluginError('EXEC_FAILED', { command: 'umount', status, reason });
  } catch (error) {
    throwIfDone(c);
    if (short.signal.aborted) return 'hanging';
    throw error;
  }
};
