import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { type MountEntry, mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import type { Logger } from '../../shared/log.ts';
import { type Health, silentShare } from './health.ts';
import { sourceOf, unmountShare } from './mount-command.ts';
import type { MountedShare, MountWish } from './mounted-share.ts';
import type { Mounter } from './negotiation.ts';
import { type Looked, NFS_PORT } from './preflight.ts';
import { NFS_VERSIONS, type NfsVersion, type Share } from './share.ts';
import { type FilesTimes, WorkerShareFiles } from './worker-share-files.ts';

/** How servers are asked before anything is mounted from them, and afterwards. */
export interface Servers {
  look(share: Share, wish: MountWish, c: Context): Promise<Looked>;
  ping(address: string, port: number, c: Context, shareId: string): Promise<void>;
}

/** A share that is mounted. */
export interface Kept {
  readonly mounted: MountedShare;
  readonly files: WorkerShareFiles;
  readonly folder: string;
  /** The server knows the folder no more by which it was mounted. */
  stale: boolean;
}

export interface KeptParts {
  /** See MountsParts.folder. */
  readonly folder: string;
  readonly servers: Servers;
  readonly mount: Mounter;
  readonly health: Health;
  readonly times: FilesTimes;
  readonly log: Logger;
}

/** The shares that are mounted, by the share and how it is mounted. Calls for one key never overlap. */
export class KeptShares {
  readonly #parts: KeptParts;
  readonly #kept = new Map<string, Kept>();
  #prepared: Promise<void> | undefined;

  constructor(parts: KeptParts) {
    this.#parts = parts;
  }

  get(key: string): Kept | undefined {
    return this.#kept.get(key);
  }

  all(): readonly (readonly [key: string, kept: Kept])[] {
    return [...this.#kept];
  }

  /** Sees to it that the share is mounted and its server answers. Errors: see ShareMounts.ensure. */
  async bring(key: string, share: Share, wish: MountWish, c: Context): Promise<Kept> {
    const { folder: base, servers, health, mount, log } = this.#parts;
    const folder = join(base, key);
    const before = this.#kept.get(key);
    if (before !== undefined && !before.stale && deviceAt(folder) === before.mounted.device) {
      await health.check(share.id);
      return before;
    }
    const looked = await this.#look(share, wish, c);
    if (before !== undefined) {
      log.warn('a share is mounted anew', { share: share.id, stale: before.stale });
      await this.drop(key, before, c);
      // By whoever has it open it goes on to be used for what it still is.
      if (deviceAt(folder) !== undefined) await unmountShare(folder, ['-l'], c);
    }
    this.#prepared ??= prepare(base, c).catch((error: unknown) => {
      this.#prepared = undefined;
      throw error;
    });
    await this.#prepared;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found = deviceAt(folder) !== undefined;
    const version = found ? undefined : await mount(share, wish, looked, folder, c);
    const entry = mountAt(readMountTable(), folder);
    if (entry === undefined) throw new PluginError('SHARE_SILENT', { share: share.id, reason: 'its mount is gone' });
    const { address, port } = looked;
    health.watch(share.id, (inner) => servers.ping(address, port, inner, share.id));
    const kept = this.#keep(share, wish, version, folder, entry);
    this.#kept.set(key, kept);
    const { version: agreed, options } = kept.mounted;
    log.info('a share is mounted', { share: share.id, version: agreed, options, found });
    return kept;
  }

  /** Nothing of it is open here any more, and it is unmounted when nobody else has it open. */
  async drop(key: string, kept: Kept, c: Context): Promise<void> {
    const { health, log } = this.#parts;
    const { id } = kept.mounted.share;
    await kept.files.close();
    this.#kept.delete(key);
    if (!this.all().some(([, { mounted }]) => mounted.share.id === id)) health.forget(id);
    if (deviceAt(kept.folder) === undefined) return;
    const outcome = await unmountShare(kept.folder, [], c);
    log.info('a share is unmounted', { share: id, outcome });
  }

  /** Nothing works on their files any more; the mounts stay. */
  async close(): Promise<void> {
    await Promise.all(this.all().map(([, { files }]) => files.close()));
    this.#kept.clear();
  }

  /** Errors: those of the look; SHARE_SILENT with the time, where something is mounted from before. */
  async #look(share: Share, wish: MountWish, c: Context): Promise<Looked> {
    const { servers, health } = this.#parts;
    try {
      return await servers.look(share, wish, c);
    } catch (thrown) {
      const error = asPluginError(thrown);
      if (!['SHARE_SILENT', 'SHARE_UNREACHABLE'].includes(error.code) || !isInUse(share)) throw error;
      health.watch(share.id, (inner) => servers.ping(share.server, share.port ?? NFS_PORT, inner, share.id), error);
      const known = health.of(share.id);
      throw known === undefined ? error : silentShare(share.id, known);
    }
  }

  #keep(share: Share, wish: MountWish, agreed: NfsVersion | undefined, folder: string, entry: MountEntry): Kept {
    const { log, times, health } = this.#parts;
    const told = entry.superOptions.find((option) => option.startsWith('vers='))?.slice('vers='.length);
    const version = NFS_VERSIONS.find((one) => one === told) ?? agreed ?? wish.version ?? share.versions[0] ?? '4.2';
    const files = new WorkerShareFiles({
      ...{ shareId: share.id, root: folder, times, log },
      server: {
        isSilent: () => health.of(share.id)?.answering === false,
        check: () => health.check(share.id),
      },
      onStale: () => {
        kept.stale = true;
      },
    });
    const options = entry.superOptions.join(',');
    const { source, device } = entry;
    const mounted = { share, version, options, source, device, files, readonly: wish.readonly };
    const kept: Kept = { mounted, files, folder, stale: false };
    return kept;
  }
}

/** A folder of which nobody else sees what is mounted in it. */
const prepare = async (folder: string, c: Context): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (deviceAt(folder) !== undefined) return;
  await exec('mount', ['--bind', folder, folder], c);
  await exec('mount', ['--make-private', folder], c);
};

const deviceAt = (folder: string): string | undefined => mountAt(readMountTable(), folder)?.device;

/** Is anything of it mounted here? */
const isInUse = (share: Share): boolean => {
  const source = sourceOf(share);
  const below = `${source.replace(/\/$/, '')}/`;
  return readMountTable().some(
    (entry) =>
      entry.type.startsWith('nfs') &&
      (entry.source === source || entry.source.startsWith(below)) &&
      portOf(entry) === (share.port ?? NFS_PORT),
  );
};

const portOf = ({ superOptions }: MountEntry): number =>
  Number(superOptions.find((option) => option.startsWith('port='))?.slice('port='.length) ?? NFS_PORT);
