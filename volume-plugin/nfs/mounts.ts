import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, noLongerThan, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { type MountEntry, mountAt, mountNamespaces, readMountTable } from '../../shared/kernel/mount-table.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { HEALTH_TIMES, Health, type HealthTimes, silentShare } from './health.ts';
import { bindFolder, setReadonly, unmountShare } from './mount-command.ts';
import type { Bound, MountedShare, MountWish, ShareHealth, ShareMounts } from './mounted-share.ts';
import { type Mounter, negotiate } from './negotiation.ts';
import { type Looked, ping, preflight } from './preflight.ts';
import { NFS_VERSIONS, type NfsVersion, type Share } from './share.ts';
import { FILES_TIMES, type FilesTimes, WorkerShareFiles } from './worker-share-files.ts';

/** How servers are asked before anything is mounted from them, and afterwards. */
export interface Servers {
  look(share: Share, wish: MountWish, c: Context): Promise<Looked>;
  ping(address: string, port: number, c: Context, shareId: string): Promise<void>;
}

/** In milliseconds. */
export interface MountTimes extends HealthTimes, FilesTimes {
  /** A share that nothing is bound from stays mounted for so long. */
  readonly keepMs: number;
}

export interface MountsParts {
  /** Where shares are mounted, out of everybody's sight. Below a folder that is there after a restart, they are found again. */
  readonly folder: string;
  readonly log: Logger;
  /** Ends with the plugin. */
  readonly life: Context;
  /** For tests. */
  readonly servers?: Servers;
  readonly mount?: Mounter;
  readonly times?: Partial<MountTimes>;
}

const TIMES: MountTimes = { ...HEALTH_TIMES, ...FILES_TIMES, keepMs: 60_000 };
/** The look at the server, and the kernel's attempts; it goes on when whoever asked does not wait any more. */
const ENSURE_MS = 30_000;
const DROP_MS = 15_000;

interface Kept {
  readonly mounted: MountedShare;
  readonly files: WorkerShareFiles;
  readonly folder: string;
  /** The server knows the folder no more by which it was mounted. */
  stale: boolean;
  /** Will unmount it. */
  timer?: NodeJS.Timeout | undefined;
}

/**
 * Shares are mounted in a folder that only the plugin sees: the engine, which looks into what is mounted for it, meets
 * nothing but the volumes' own mounts, and those stay when the plugin is killed and its own mounts go with its mount
 * namespace. Mounted again, a share is the same file system to the kernel, by which volumes are recognized.
 */
export class LinuxShareMounts implements ShareMounts {
  readonly #parts: MountsParts;
  readonly #servers: Servers;
  readonly #times: MountTimes;
  readonly #health: Health;
  /** By the share and how it is mounted. */
  readonly #kept = new Map<string, Kept>();
  readonly #ensuring = new Coalescer<MountedShare>();
  readonly #locks = new KeyedMutex();
  #prepared: Promise<void> | undefined;

  constructor(parts: MountsParts) {
    this.#parts = parts;
    this.#servers = parts.servers ?? { look: preflight, ping };
    this.#times = { ...TIMES, ...parts.times };
    this.#health = new Health(this.#times, parts.log, parts.life);
  }

  ensure(share: Share, wish: MountWish, c: Context): Promise<MountedShare> {
    const key = keyOf(share, wish);
    const work = this.#ensuring.run(key, () => {
      const own = newContext(this.#parts.log, ENSURE_MS, this.#parts.life);
      return this.#locks.run(key, () => this.#bring(key, share, wish, own), own);
    });
    return noLongerThan(c, work);
  }

  async bind(mounted: MountedShare, folder: string, target: string, readonly: boolean, c: Context): Promise<Bound> {
    const { id } = mounted.share;
    await noLongerThan(c, this.#health.check(id));
    const present = mountAt(readMountTable(), target);
    if (present === undefined) {
      const kept = [...this.#kept.values()].find(({ files }) => files === mounted.files);
      if (kept === undefined)
        throw new PluginError('SHARE_SILENT', { share: id, reason: 'it was unmounted meanwhile' });
      const held = await kept.files.hold(folder, c);
      try {
        await this.#orSilent(id, c, (inner) => bindFolder(held.path, target, readonly, inner));
      } finally {
        held.letGo();
      }
    } else if (!isFolderOf(present, mounted, folder)) {
      const reason = `${present.source} (${present.device}) is there, not ${mounted.source} (${mounted.device})`;
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: basename(target), reason });
    } else if (present.options.includes('ro') !== (readonly || mounted.readonly)) {
      await this.#orSilent(id, c, (inner) => setReadonly(target, readonly, inner));
    }
    const found = mountAt(readMountTable(), target);
    if (found === undefined) throw new PluginError('VOLUME_NOT_MOUNTED', { volume: basename(target) });
    return { source: found.source, device: found.device };
  }

  async unbind(target: string, c: Context): Promise<void> {
    // Of several on top of each other none may stay.
    for (let entry = mountAt(readMountTable(), target); entry !== undefined; ) {
      const outcome = await unmountShare(target, [], c);
      if (outcome !== 'done') await this.#unbindByForce(entry, outcome, c);
      entry = mountAt(readMountTable(), target);
    }
  }

  release(shareId: string): void {
    for (const [key, kept] of this.#kept) {
      if (kept.mounted.share.id !== shareId) continue;
      clearTimeout(kept.timer);
      kept.timer = setTimeout(() => void this.#dropLater(key), this.#times.keepMs).unref();
    }
  }

  health(shareId: string): ShareHealth | undefined {
    return this.#health.of(shareId);
  }

  async close(): Promise<void> {
    this.#health.close();
    for (const kept of this.#kept.values()) clearTimeout(kept.timer);
    await Promise.all([...this.#kept.values()].map(({ files }) => files.close()));
    this.#kept.clear();
  }

  /** Under the lock. */
  async #bring(key: string, share: Share, wish: MountWish, c: Context): Promise<MountedShare> {
    const { folder: base, log } = this.#parts;
    const folder = join(base, key);
    const kept = this.#kept.get(key);
    if (kept !== undefined && !kept.stale && mountAt(readMountTable(), folder)?.device === kept.mounted.device) {
      clearTimeout(kept.timer);
      await this.#health.check(share.id);
      return kept.mounted;
    }
    const looked = await this.#look(share, wish, c);
    if (kept !== undefined) {
      log.warn('a share is mounted anew', { share: share.id, stale: kept.stale });
      await this.#drop(key, kept, c);
      // By whoever has it open it goes on to be used for what it still is.
      if (mountAt(readMountTable(), folder) !== undefined) await unmountShare(folder, ['-l'], c);
    }
    this.#prepared ??= this.#prepare(c).catch((error: unknown) => {
      this.#prepared = undefined;
      throw error;
    });
    await this.#prepared;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let version: NfsVersion | undefined;
    if (mountAt(readMountTable(), folder) === undefined) {
      version = await (this.#parts.mount ?? negotiate)(share, wish, looked, folder, c);
    }
    const entry = mountAt(readMountTable(), folder);
    if (entry === undefined) throw new PluginError('SHARE_SILENT', { share: share.id, reason: 'its mount is gone' });
    const mounted = this.#keep(key, share, wish, version, folder, entry);
    log.info('a share is mounted', { share: share.id, version: mounted.version, options: mounted.options });
    return mounted;
  }

  /** Errors: those of the look, and SHARE_SILENT with the time when it was known before. */
  async #look(share: Share, wish: MountWish, c: Context): Promise<Looked> {
    const portOf = share.port ?? 2049;
    try {
      const looked = await this.#servers.look(share, wish, c);
      const { address, port } = looked;
      this.#health.watch(share.id, (inner) => this.#servers.ping(address, port, inner, share.id));
      return looked;
    } catch (thrown) {
      const error = asPluginError(thrown);
      if (!['SHARE_SILENT', 'SHARE_UNREACHABLE'].includes(error.code) || !this.#isInUse(share)) throw error;
      // Its volumes are mounted from before, and used.
      this.#health.watch(share.id, (inner) => this.#servers.ping(share.server, portOf, inner, share.id), error);
      const health = this.#health.of(share.id);
      throw health === undefined ? error : silentShare(share.id, health);
    }
  }

  /** Is anything of it mounted here? */
  #isInUse(share: Share): boolean {
    const source = `${share.server}:${share.path}`;
    return readMountTable().some((entry) => entry.type.startsWith('nfs') && entry.source.startsWith(source));
  }

  #keep(
    key: string,
    share: Share,
    wish: MountWish,
    agreed: NfsVersion | undefined,
    folder: string,
    entry: MountEntry,
  ): MountedShare {
    const { log, life } = this.#parts;
    const told = entry.superOptions.find((option) => option.startsWith('vers='))?.slice('vers='.length);
    const version = NFS_VERSIONS.find((one) => one === told) ?? agreed ?? wish.version ?? share.versions[0] ?? '4.2';
    const files = new WorkerShareFiles({
      ...{ shareId: share.id, root: folder, times: this.#times, log, life },
      checkServer: () => this.#health.check(share.id),
      onStale: () => {
        kept.stale = true;
      },
    });
    const options = entry.superOptions.join(',');
    const { source, device } = entry;
    const mounted = { share, version, options, source, device, files, readonly: wish.readonly };
    const kept: Kept = { mounted, files, folder, stale: false };
    this.#kept.set(key, kept);
    return mounted;
  }

  /** A folder of which nobody else sees what is mounted in it. */
  async #prepare(c: Context): Promise<void> {
    const { folder } = this.#parts;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (mountAt(readMountTable(), folder) !== undefined) return;
    await exec('mount', ['--bind', folder, folder], c);
    await exec('mount', ['--make-private', folder], c);
  }

  /** What is busy, or hangs, is cut off when its server is gone. */
  async #unbindByForce(entry: MountEntry, outcome: 'busy' | 'hanging', c: Context): Promise<void> {
    const { target, device } = entry;
    const kept = [...this.#kept.values()].find(({ mounted }) => mounted.device === device);
    const isSilent = outcome === 'hanging' || (kept !== undefined && !(await this.#answers(kept, c)));
    if (!isSilent) {
      throw new PluginError('VOLUME_IN_USE', {
        volume: basename(target),
        users: 'a process that has a file of it open',
      });
    }
    // By force all that waits for the server fails, also what others write to the same share: only for the last one.
    const own = kept?.folder;
    const isLast = !mountNamespaces().some(({ mounts }) =>
      mounts.some((one) => one.device === device && one.target !== own && !one.target.endsWith(target)),
    );
    this.#parts.log.warn('a volume is cut off from its share', { target, outcome, force: isLast });
    if (isLast && entry.type.startsWith('nfs')) await unmountShare(target, ['-f'], c);
    if (mountAt(readMountTable(), target) !== undefined) await unmountShare(target, ['-l'], c);
  }

  async #answers({ mounted }: Kept, c: Context): Promise<boolean> {
    return await noLongerThan(c, this.#health.check(mounted.share.id)).then(
      () => true,
      (error: unknown) => {
        throwIfDone(c);
        return asPluginError(error).code !== 'SHARE_SILENT';
      },
    );
  }

  async #dropLater(key: string): Promise<void> {
    const c = newContext(this.#parts.log, DROP_MS, this.#parts.life);
    try {
      await this.#locks.run(
        key,
        async () => {
          const kept = this.#kept.get(key);
          if (kept === undefined || isBoundFrom(kept)) return;
          // One whose server is silent would wait for it: it stays until that answers, or for good.
          if (this.#health.of(kept.mounted.share.id)?.answering === false) this.release(kept.mounted.share.id);
          else await this.#drop(key, kept, c);
        },
        c,
      );
    } catch (error) {
      this.#parts.log.warn('a share stays mounted', { key, error: asPluginError(error) });
    }
  }

  /** Under the lock: nothing of it is open here any more, and it is unmounted when nobody else has it open. */
  async #drop(key: string, kept: Kept, c: Context): Promise<void> {
    const { id } = kept.mounted.share;
    await kept.files.close();
    clearTimeout(kept.timer);
    this.#kept.delete(key);
    const isOther = [...this.#kept.values()].some(({ mounted }) => mounted.share.id === id);
    if (!isOther && !kept.stale) this.#health.forget(id);
    if (mountAt(readMountTable(), kept.folder) === undefined) return;
    const outcome = await unmountShare(kept.folder, [], c);
    this.#parts.log.info('a share is unmounted', { share: id, outcome });
  }

  /** A program that waits for a server is ended, and it is said why. */
  async #orSilent(shareId: string, c: Context, work: (inner: Context) => Promise<void>): Promise<void> {
    const short = newContext(c.log, this.#times.silentMs, c);
    try {
      await work(short);
    } catch (error) {
      throwIfDone(c);
      if (!short.signal.aborted) throw error;
      throw new PluginError('SHARE_SILENT', { share: shareId, reason: 'a mount of a folder of it did not end' });
    }
  }
}

/** The same for whatever is to be mounted in the same way. */
const keyOf = (share: Share, wish: MountWish): string => {
  const { id, server, port, path } = share;
  const options = Object.entries(wish.options).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify([id, server, port, path, wish.version, wish.readonly, options]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
};

/** Of NFS the table shows the whole path as the source, of other file systems as their part that is mounted. */
const isFolderOf = ({ device, source, root }: MountEntry, mounted: MountedShare, folder: string): boolean => {
  const parts = folder.split('/').filter((part) => part !== '' && part !== '.');
  const whole = [mounted.source.replace(/\/$/, ''), ...parts].join('/');
  if (source === whole || (parts.length === 0 && source === mounted.source)) return true;
  return device === mounted.device && `${source}/${root}`.endsWith(parts.join('/'));
};

const isBoundFrom = ({ mounted, folder }: Kept): boolean =>
  readMountTable().some(({ device, target }) => device === mounted.device && target !== folder);
