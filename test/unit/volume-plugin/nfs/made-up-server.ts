import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { exec } from '../../../../shared/kernel/exec.ts';
import { silentLogger } from '../../../../shared/log.ts';
import type { Servers } from '../../../../volume-plugin/nfs/kept-shares.ts';
import { LinuxShareMounts, type MountTimes } from '../../../../volume-plugin/nfs/mounts.ts';
import type { Share } from '../../../../volume-plugin/nfs/share.ts';
import { context, run, scratch } from '../block/scratch.ts';

/**
 * Shares of a made-up server, each a file system in memory, that hosts mount by a bind in the place of what only a kernel
 * with NFS and a server can do. Everything else is real: processes, binds, files. Use `inOwnMounts`.
 */

export const share = (path: string, change: Partial<Share> = {}): Share => ({
  ...{ id: `server:${path}`, server: 'server', path, vendor: 'generic', versions: ['4.2', '3'] },
  ...change,
});

/** A server that can be made silent. */
export class MadeUpServer implements Servers {
  silent = false;
  readonly looks: string[] = [];
  pings = 0;

  async look({ id }: Share) {
    this.looks.push(id);
    this.#answer(id);
    const address = '127.0.0.1';
    return { address, ownAddress: address, versions: ['4.2'], port: 2049, pathSeen: true } as const;
  }

  async ping(_address: string, _port: number, _c: unknown, id: string): Promise<void> {
    this.pings += 1;
    this.#answer(id);
  }

  #answer(id: string): void {
    if (this.silent) throw new PluginError('SHARE_SILENT', { share: id, reason: 'it is silent' });
  }
}

/** A server with exports; `host` is a host's view of it. */
export const madeUpShares = (t: Test, ...paths: readonly string[]) => {
  const folder = scratch(t);
  for (const path of paths) {
    mkdirSync(join(folder, 'exports', path), { recursive: true });
    run('mount', '-t', 'tmpfs', `server:${path}`, join(folder, 'exports', path));
  }
  const server = new MadeUpServer();
  const host = (n: number, times: Partial<MountTimes> = {}) => {
    const mounted: string[] = [];
    const mounts = new LinuxShareMounts({
      ...{ folder: join(folder, `shares-${n}`), servers: server, log: silentLogger, times },
      life: newContext(silentLogger, Number.POSITIVE_INFINITY),
      mount: async ({ path, id }, { readonly }, _looked, at, c) => {
        mounted.push(id);
        await exec('mount', ['--bind', join(folder, 'exports', path), at], c);
        if (readonly) await exec('mount', ['-o', 'remount,bind,ro', at], c);
        return '4.2';
      },
    });
    t.teardown(() => mounts.close());
    const target = (name: string): string => {
      const path = join(folder, `targets-${n}`, name);
      mkdirSync(path, { recursive: true });
      return path;
    };
    const ensure = (path: string, readonly = false) => mounts.ensure(share(path), { options: {}, readonly }, context());
    return { mounts, mounted, target, ensure };
  };
  /** A file of a share as its server has it. */
  const onServer = (...parts: readonly string[]): string => join(folder, 'exports', ...parts);
  return { folder, server, host, onServer };
};

/** Processes of this one that work on shares. */
export const workers = (): readonly number[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .map(Number)
    .filter((pid) => pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('share-worker'));
