import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, noLongerThan, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { type MountEntry, mountAt, mountNamespaces, readMountTable } from '../../shared/kernel/mount-table.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { HEALTH_TIMES, Health, type HealthTimes } from './health.ts';
import { type Kept, KeptShares, type Servers } from './kept-shares.ts';
import { type Unmounting, unmountShare } from './mount-command.ts';
import type { Bound, MountedShare, MountWish, ShareHealth, ShareMounts } from './mounted-share.ts';
import { type Mounter, negotiate } from './negotiation.ts';
import { NFS_PORT, ping, preflight } from './preflight.ts';
import type { Share } from './share.ts';
import { FILES_TIMES, type FilesTimes } from './worker-share-files.ts';

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
/** A plugin's propagated mount, as the engine has it. */
const ENGINES_OWN = '/propagated-mount';

/**
 * Shares are mounted in a folder that only the plugin sees: the engine, which looks into what is mounted for it, meets
 * nothing but the volumes' own mounts, and those stay when the plugin is killed and its own mounts go with its mount
 * namespace. Mounted again, a share is the same file system to the kernel, by which volumes are recognized.
 */
export class LinuxShareMounts implements ShareMounts {
  readonly #folder: string;
  readonly #servers: Servers;
  readonly #log: Logger;
  readonly #life: Context;
  readonly #times: MountTimes;
  readonly #health: Health;
  readonly #kept: KeptShares;
  readonly #ensuring = new Coalescer<MountedShare>();
  readonly #locks = new KeyedMutex();
  /** Will unmount shares that nothing is bound from. */
  readonly #releases = new Map<string, NodeJS.Timeout>();

  constructor({ folder, log, life, servers = { look: preflight, ping }, mount = negotiate, times }: MountsParts) {
    this.#folder = folder;
    this.#servers = servers;
    this.#log = log;
    this.#life = life;
    this.#times = { ...TIMES, ...times };
    this.#health = new Health(this.#times, log, life);
    this.#kept = new KeptShares({ folder, servers, mount, log, health: this.#health, times: this.#times });
  }

  ensure(share: Share, wish: MountWish, c: Context): Promise<MountedShare> {
    const key = keyOf(share, wish);
    const work = this.#ensuring.run(key, async () => {
      const own = newContext(this.#log, ENSURE_MS, this.#life);
      const bring = () => this.#kept.bring(key, share, wish, own);
      const { mounted } = await this.#locks.run(key, bring, own);
      clearTimeout(this.#releases.get(key));
      return mounted;
    });
    return noLongerThan(c, work);
  }

  async bind(mounted: MountedShare, folder: string, target: string, readonly: boolean, c: Context): Promise<Bound> {
    const { id } = mounted.share;
    await noLongerThan(c, this.#health.check(id));
    const wanted = readonly || mounted.readonly ? 'ro' : 'rw';
    let table = readMountTable();
    let present = mountAt(table, target);
    if (present !== undefined && isFolderOf(present, mounted, folder) && !present.options.includes(wanted)) {
      // Changed in place, it would stay as it is in the sight of others.
      await this.unbind(target, c);
      table = readMountTable();
      present = undefined;
    }
    if (present === undefined) {
      const kept = this.#kept.all().find(([, { files }]) => files === mounted.files)?.[1];
      const base = kept && mountAt(table, kept.folder);
      if (kept === undefined || base === undefined) {
        throw new PluginError('SHARE_SILENT', { share: id, reason: 'it was unmounted meanwhile' });
      }
      const asReadonly = readonly ? { stage: await this.#stage(target, c), flags: base.options } : null;
      await kept.files.bind(folder, target, asReadonly, c);
    } else if (!isFolderOf(present, mounted, folder)) {
      const reason = `${present.source} (${present.device}) is there, not ${mounted.source} (${mounted.device})`;
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: basename(target), reason });
    }
    const found = mountAt(readMountTable(), target);
    if (found === undefined) throw new PluginError('VOLUME_NOT_MOUNTED', { volume: basename(target) });
    if (!isFolderOf(found, mounted, folder)) {
      // What was opened has got another name since: somebody is removing it.
      await this.unbind(target, c);
      const reason = `${found.source} was there`;
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: basename(target), reason });
    }
    return { source: found.source, device: found.device };
  }

  async unbind(target: string, c: Context): Promise<void> {
    // Of several on top of each other none may stay.
    for (let entry = mountAt(readMountTable(), target); entry !== undefined; ) {
      const outcome = await this.#unmount(entry, c);
      if (outcome !== 'done') await this.#unbindByForce(entry, outcome, c);
      entry = mountAt(readMountTable(), target);
    }
  }

  release(shareId: string): void {
    for (const [key, { mounted }] of this.#kept.all()) {
      if (mounted.share.id !== shareId) continue;
      clearTimeout(this.#releases.get(key));
      this.#releases.set(key, setTimeout(() => void this.#dropLater(key), this.#times.keepMs).unref());
    }
  }

  health(shareId: string): ShareHealth | undefined {
    return this.#health.of(shareId);
  }

  async close(): Promise<void> {
    this.#health.close();
    for (const timer of this.#releases.values()) clearTimeout(timer);
    await this.#kept.close();
  }

  /** A folder that only the plugin sees what is mounted in, for a mount at `target` on its way. */
  async #stage(target: string, c: Context): Promise<string> {
    const stage = join(this.#folder, `stage-${basename(target)}`);
    await mkdir(stage, { recursive: true, mode: 0o700 });
    // Left by a crash.
    if (mountAt(readMountTable(), stage) !== undefined) await unmountShare(stage, ['-l'], c);
    return stage;
  }

  /** By the process that works on the share, when there is one and all is well; by a program otherwise. */
  async #unmount({ target, device }: MountEntry, c: Context): Promise<Unmounting> {
    const kept = this.#keptOn(device);
    if (kept?.files.isAwake === true && this.#health.of(kept.mounted.share.id)?.answering === true) {
      try {
        return (await kept.files.unbind(target, c)) ? 'done' : 'busy';
      } catch (error) {
        throwIfDone(c);
        this.#log.debug('a volume is unmounted by a program', { target, error: asPluginError(error).message });
      }
    }
    return await unmountShare(target, [], c);
  }

  #keptOn(device: string): Kept | undefined {
    return this.#kept.all().find(([, { mounted }]) => mounted.device === device)?.[1];
  }

  /** What is busy, or hangs, is cut off when its server is gone. */
  async #unbindByForce(entry: MountEntry, outcome: 'busy' | 'hanging', c: Context): Promise<void> {
    const { target, type } = entry;
    const volume = basename(target);
    if (outcome === 'busy' && (await this.#answers(entry, c))) {
      throw new PluginError('VOLUME_IN_USE', { volume, users: 'a process that has a file of it open' });
    }
    // By force all that waits for the server fails, also what others write to the same share: only for the last one.
    const force = type.startsWith('nfs') && !this.#hasOthers(entry);
    this.#log.warn('a volume is cut off from its share', { volume, outcome, force });
    if (force) await unmountShare(target, ['-f'], c);
    if (mountAt(readMountTable(), target) !== undefined) await unmountShare(target, ['-l'], c);
  }

  /** Is the file system mounted for anybody else, in any mount namespace? */
  #hasOthers({ target, device }: MountEntry): boolean {
    // The engine's view of what is mounted for it.
    const seen = join(ENGINES_OWN, basename(target));
    const isOther = (one: MountEntry): boolean =>
      one.device === device &&
      one.target !== target &&
      !one.target.endsWith(seen) &&
      dirname(one.target) !== this.#folder;
    return mountNamespaces().some(({ mounts }) => mounts.some(isOther));
  }

  /** Does the server answer that something is mounted from, in this life of the plugin or an earlier one? */
  async #answers({ device, source, superOptions }: MountEntry, c: Context): Promise<boolean> {
    const kept = this.#keptOn(device);
    const option = (name: string) => superOptions.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
    const address = option('addr');
    try {
      if (kept !== undefined) await noLongerThan(c, this.#health.check(kept.mounted.share.id));
      else if (address !== undefined) await this.#servers.ping(address, Number(option('port') ?? NFS_PORT), c, source);
      return true;
    } catch (error) {
      throwIfDone(c);
      if (['SHARE_SILENT', 'SHARE_UNREACHABLE'].includes(asPluginError(error).code)) return false;
      throw error;
    }
  }

  async #dropLater(key: string): Promise<void> {
    const c = newContext(this.#log, DROP_MS, this.#life);
    try {
      await this.#locks.run(
        key,
        async () => {
          const kept = this.#kept.get(key);
          if (kept === undefined || isBoundFrom(kept)) return;
          // One whose server is silent would wait for it: it stays until that answers, or for good.
          if (this.#health.of(kept.mounted.share.id)?.answering === false) this.release(kept.mounted.share.id);
          else await this.#kept.drop(key, kept, c);
        },
        c,
      );
    } catch (error) {
      this.#log.warn('a share stays mounted', { key, error: asPluginError(error) });
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

/**
 * Of NFS the table shows the whole path as the source, also of an export below it, which is another device. Of other file
 * systems, as tests have them for shares, it shows their part that is mounted.
 */
const isFolderOf = ({ device, source, root, type }: MountEntry, mounted: MountedShare, folder: string): boolean => {
  const parts = folder.split('/').filter((part) => part !== '' && part !== '.');
  const whole = [mounted.source.replace(/\/$/, ''), ...parts].join('/');
  if (type.startsWith('nfs')) return source === whole || (parts.length === 0 && source === mounted.source);
  return device === mounted.device && source === mounted.source && root === `/${parts.join('/')}`;
};

/** Is anything mounted from it but shares themselves, of which several may be the same file system? */
const isBoundFrom = ({ mounted, folder }: Kept): boolean =>
  readMountTable().some(({ device, target }) => device === mounted.device && dirname(target) !== dirname(folder));
