import type { Context } from '../../shared/context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../../shared/errors.ts';
import { killMountUsers } from '../../shared/kernel/mount-users.ts';
import type { Bound, MountedShare, ShareMounts } from '../nfs/mounted-share.ts';
import { folderOf, placeFolder, readRecord } from '../nfs/records.ts';
import { ShareNotes } from '../nfs/share-notes.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';
import { Trash } from '../nfs/trash.ts';
import { addUser, removeUser } from '../nfs/users.ts';
import type {
  Backend,
  DayTwo,
  EarlierMount,
  ListedVolume,
  Mounted,
  NewVolume,
  Volume,
  VolumeRemoval,
} from './backend.ts';
import { fenceVolume } from './fencing.ts';
import { Fruitless } from './fruitless.ts';
import { shareDayTwo } from './nfs-day-two.ts';
import { nfsListing } from './nfs-listing.ts';
import { findPlace, makeShareVolume } from './nfs-making.ts';
import { differences, NFS_OPTIONS, readNfsOptions, wishOf } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';
import { removeShareVolume } from './nfs-removing.ts';
import { NfsShares } from './nfs-shares.ts';
import { shareStatus } from './nfs-status.ts';
import { type HostParts, Writers, type WritersParts } from './writers.ts';

export interface NfsBackendOptions extends HostParts {
  readonly provider: ShareProvider;
  readonly mounts: ShareMounts;
  /** For notes on shares; of this host alone. */
  readonly folder: string;
  /** What `docker volume rm` does with a folder that was made for a volume which does not say. */
  readonly onRemove: 'delete' | 'retain';
  /** For tests. */
  readonly writers?: Partial<Pick<WritersParts, 'times' | 'kill'>>;
}

/** Of NFS the source of a mount names the folder; that of other file systems would not tell volumes from the host. */
const killUsers = async ({ device, source, target }: EarlierMount, c: Context): Promise<void> => {
  if (!source.includes(':/')) throw new Error(`what is mounted at ${target} is no share`);
  const processes = await killMountUsers({ device, within: source }, c);
  c.log.warn('what used a lost volume was ended', { target, processes });
};

/** There may be none where it was looked for: then nothing was made there. */
const NO_SERVER: readonly ErrorCode[] = ['SHARE_SILENT', 'SHARE_UNREACHABLE', 'SHARE_UNRESOLVED'];

/** Volumes that are folders of NFS servers' shares, on any number of hosts at a time. */
export class NfsBackend implements Backend {
  readonly type = 'nfs';
  readonly schema = NFS_OPTIONS;
  readonly dayTwo: DayTwo;
  readonly #parts: NfsParts;
  readonly #trash: Trash;
  readonly #life: Context;
  readonly #fruitless = new Fruitless();

  constructor(options: NfsBackendOptions) {
    const { provider, mounts, host, folder, onRemove, onLost, life } = options;
    const notes = new ShareNotes(folder);
    const shares = new NfsShares({ provider, mounts, notes, life });
    const listing = nfsListing(shares, notes);
    const writers = new Writers({ host, onLost, life, kill: killUsers, ...options.writers });
    this.#life = life;
    this.#parts = { provider, mounts, notes, shares, listing, writers, host, onRemove };
    this.#trash = new Trash(host.id);
    this.dayTwo = shareDayTwo(this.#parts);
  }

  async start(c: Context): Promise<void> {
    await this.#parts.notes.load(c.log);
    await this.#parts.provider.start(c);
    this.#parts.shares.start();
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    return await this.#parts.listing.list(c, (mounted) => this.#empty(mounted));
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    return await this.#parts.listing.find(name, c);
  }

  async create(spec: NewVolume, c: Context): Promise<Volume> {
    const place = await this.#fruitless.watch(spec, () => findPlace(this.#parts, spec, c), isFruitless);
    return await makeShareVolume(this.#parts, spec, place, c);
  }

  nothingOf(name: string, making: string): boolean {
    return this.#fruitless.has(name, making);
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const { host, writers } = this.#parts;
    const options = readNfsOptions(volume);
    const mounted = await this.#parts.shares.mount(shareOf(volume), wishOf(options), c);
    const isLeased = options.access === 'single-writer';
    const epoch = isLeased ? await writers.take(volume.name, mounted, c) : undefined;
    await Promise.all([
      this.#confirm(volume, mounted, c),
      // Before it is mounted: who removes it now either sees that, or has taken the folder away already.
      options.path === undefined && addUser(mounted.files, volume.name, host, c),
    ]);
    const bound = await this.#bind(volume, mounted, target, options.readonly, c);
    if (isLeased) writers.mounted(volume.name, { target, ...bound });
    return { ...bound, inside: '', shared: true, ...(epoch !== undefined && { epoch }) };
  }

  async reach(volume: Volume, c: Context): Promise<void> {
    try {
      await this.#parts.shares.mount(shareOf(volume), wishOf(readNfsOptions(volume)), c);
    } catch (thrown) {
      const error = asPluginError(thrown);
      if (c.signal.aborted || NO_SERVER.includes(error.code)) throw error;
      // Such as a cloud that cannot be asked for the way: what is mounted is there.
      c.log.warn('it cannot be told whether a share is there; it is handed out', { volume: volume.name, error });
    }
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    await this.#parts.mounts.unbind(target, c);
    if (volume.handle['share'] !== undefined) this.#parts.shares.release(volume.handle['share']);
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const { shares, writers, host } = this.#parts;
    const { name, options } = volume;
    const share = volume.handle['share'];
    if (share === undefined) return;
    const isLeased = options['access'] === 'single-writer';
    if (options['path'] === undefined || isLeased) {
      const mounted = await shares.look(share, c);
      if (options['path'] === undefined) await removeUser(mounted.files, name, host, c);
      if (isLeased) await writers.release(name, mounted, c);
    }
    shares.release(share);
  }

  resume(volume: Volume, mounted: EarlierMount): void {
    const { shares, writers } = this.#parts;
    const share = volume.handle['share'];
    if (share === undefined || volume.options['access'] !== 'single-writer') return;
    const wish = wishOf(readNfsOptions(volume));
    void writers.resume(volume.name, mounted, (c) => shares.mount(share, wish, c));
  }

  async fence(volume: Volume, host: string, c: Context): Promise<void> {
    const share = volume.handle['share'];
    if (share === undefined) return;
    await fenceVolume(this.#parts, volume, host, await this.#parts.shares.look(share, c), c);
  }

  lost(volume: string): string | undefined {
    return this.#parts.writers.lost(volume);
  }

  cutOff(target: string, c: Context): Promise<void> {
    return this.#parts.writers.cutOff(target, c);
  }

  progress(volume: string): string | undefined {
    return this.#parts.writers.progress(volume) ?? this.#parts.shares.progress();
  }

  async remove(volume: VolumeRemoval, c: Context): Promise<void> {
    const mounted = await removeShareVolume(this.#parts, volume, c);
    if (mounted !== undefined) this.#empty(mounted);
  }

  status(volume: Volume, target?: string): Readonly<Record<string, string | number | boolean>> {
    return shareStatus(this.#parts, volume, target);
  }

  async close(): Promise<void> {
    // Before what it needs is closed: other hosts are told.
    await this.#parts.writers.close();
    await this.#parts.notes.flush();
    await this.#parts.mounts.close();
    await this.#parts.provider.close();
  }

  #empty({ share, files }: MountedShare): void {
    this.#trash.empty(share.id, files, this.#life);
  }

  /** What is known here of a volume may be behind: another host may have removed it, and made it anew as something else. */
  async #confirm(volume: Volume, { share, files }: MountedShare, c: Context): Promise<void> {
    const { name, handle } = volume;
    const isLocal = this.#parts.notes.get(share.id)?.local.some((one) => one.name === name) === true;
    const found = await readRecord(files, name, c);
    if (found === undefined && !isLocal) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    if (found === undefined || found.damage !== undefined || found.uuid === handle['uuid']) return;
    const other = differences(found.options, volume);
    if (other === undefined) return;
    const reason = `another host has made it anew: ${other}; this host knows it in a moment`;
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason });
  }

  /** A folder may be missing because its maker died over it, or because another host has removed the volume. */
  async #bind(volume: Volume, mounted: MountedShare, target: string, readonly: boolean, c: Context): Promise<Bound> {
    const { mounts } = this.#parts;
    const bind = () => mounts.bind(mounted, folderOf(volume), target, readonly, c);
    try {
      return await bind();
    } catch (error) {
      if (asPluginError(error).code !== 'SHARE_MISSING' || volume.options['path'] !== undefined) throw error;
      const record = await readRecord(mounted.files, volume.name, c);
      if (record === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: volume.name });
      if (!(await placeFolder(mounted.files, record, c))) throw error;
      return await bind();
    }
  }
}

/** Nothing goes on after it, when it came before the share was reached. */
const isFruitless = ({ code, retry }: PluginError): boolean =>
  NO_SERVER.includes(code) || (retry !== 'backoff' && code !== 'INTERNAL');

const shareOf = ({ name, handle: { share } }: Volume): string => {
  if (share !== undefined) return share;
  throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason: 'it is not known which share it is on' });
};
