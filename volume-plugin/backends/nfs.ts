import { type Context, cancellable, newContext } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { MountedShare, ShareMounts } from '../nfs/mounted-share.ts';
import { folderOf, readRecord } from '../nfs/records.ts';
import { ShareNotes } from '../nfs/share-notes.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';
import { Trash } from '../nfs/trash.ts';
import { addUser, removeUser } from '../nfs/users.ts';
import type { Backend, ListedVolume, Mounted, NewVolume, Volume, VolumeRemoval } from './backend.ts';
import { NfsListing } from './nfs-listing.ts';
import { makeShareVolume } from './nfs-making.ts';
import { NFS_OPTIONS, readNfsOptions, wishOf } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';
import { removeShareVolume } from './nfs-removing.ts';
import { NfsShares } from './nfs-shares.ts';
import { shareStatus } from './nfs-status.ts';

export interface NfsBackendOptions {
  readonly provider: ShareProvider;
  readonly mounts: ShareMounts;
  /** This host: random and made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** For notes on shares; of this host alone. */
  readonly folder: string;
  /** What `docker volume rm` does with a folder that was made for a volume which does not say. */
  readonly onRemove: 'delete' | 'retain';
}

/** Volumes that are folders of NFS servers' shares, on any number of hosts at a time. */
export class NfsBackend implements Backend {
  readonly type = 'nfs';
  readonly schema = NFS_OPTIONS;
  readonly #parts: NfsParts;
  readonly #trash: Trash;
  #life: { readonly context: Context; cancel(reason: unknown): void } | undefined;

  constructor({ provider, mounts, host, folder, onRemove }: NfsBackendOptions) {
    const notes = new ShareNotes(folder);
    const shares = new NfsShares({ provider, mounts, notes });
    const listing = new NfsListing(shares, notes);
    this.#parts = { provider, mounts, notes, shares, listing, host, onRemove };
    this.#trash = new Trash(host.id);
  }

  async start(c: Context): Promise<void> {
    await this.#parts.notes.load(c.log);
    await this.#parts.provider.start(c);
    this.#life ??= cancellable(newContext(c.log, Number.POSITIVE_INFINITY));
    this.#parts.shares.start(this.#life.context);
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    return await this.#parts.listing.list(c, (mounted) => this.#empty(mounted));
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    return await this.#parts.listing.find(name, c);
  }

  async create(spec: NewVolume, c: Context): Promise<Volume> {
    return await makeShareVolume(this.#parts, spec, c);
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const { mounts, host } = this.#parts;
    const options = readNfsOptions(volume);
    const mounted = await this.#parts.shares.mount(shareOf(volume), wishOf(options), c);
    if (options.path === undefined) await addUser(mounted.files, volume.name, host, c);
    const bound = await mounts
      .bind(mounted, folderOf(volume), target, options.readonly, c)
      .catch(async (error: unknown) => {
        throw await this.#whyNot(volume, mounted, asPluginError(error), c);
      });
    return { ...bound, inside: '', shared: true };
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    await this.#parts.mounts.unbind(target, c);
    if (volume.handle['share'] !== undefined) this.#parts.shares.release(volume.handle['share']);
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const { shares, host } = this.#parts;
    const share = volume.handle['share'];
    if (share === undefined) return;
    if (volume.options['path'] === undefined) {
      const { files } = await shares.look(share, c);
      await removeUser(files, volume.name, host, c);
    }
    shares.release(share);
  }

  progress(): string | undefined {
    return this.#parts.shares.progress();
  }

  async remove(volume: VolumeRemoval, c: Context): Promise<void> {
    const mounted = await removeShareVolume(this.#parts, volume, c);
    if (mounted !== undefined) this.#empty(mounted);
  }

  status(volume: Volume, target?: string): Readonly<Record<string, string | number | boolean>> {
    return shareStatus(this.#parts, volume, target, undefined);
  }

  async close(): Promise<void> {
    this.#life?.cancel(new Error('the plugin is being stopped'));
    await this.#parts.mounts.close();
    await this.#parts.provider.close();
  }

  #empty({ share, files }: MountedShare): void {
    if (this.#life !== undefined) this.#trash.empty(share.id, files, this.#life.context);
  }

  /** A folder that is not there may be so because another host has removed the volume. */
  async #whyNot(
    { name, options }: Volume,
    { files }: MountedShare,
    error: PluginError,
    c: Context,
  ): Promise<PluginError> {
    if (error.code !== 'SHARE_MISSING' || options['path'] !== undefined) return error;
    return (await readRecord(files, name, c)) === undefined
      ? new PluginError('VOLUME_UNKNOWN', { volume: name })
      : error;
  }
}

const shareOf = ({ name, handle: { share } }: Volume): string => {
  if (share !== undefined) return share;
  throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason: 'it is not known which share it is on' });
};
