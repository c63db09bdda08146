import { type Context, cancellable, newContext, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import type { MountedShare, ShareMounts } from '../nfs/mounted-share.ts';
import { folderOf, readRecord } from '../nfs/records.ts';
import { ShareNotes } from '../nfs/share-notes.ts';
import type { ShareProvider } from '../nfs/share-provider.ts';
import { Trash } from '../nfs/trash.ts';
import { addUser, removeUser } from '../nfs/users.ts';
import type { Backend, ListedVolume, Mounted, NewVolume, Volume, VolumeRemoval } from './backend.ts';
import { NfsListing } from './nfs-listing.ts';
import { makeShareVolume } from './nfs-making.ts';
import { NFS_OPTIONS, type NfsOptions, readNfsOptions, wishOf } from './nfs-options.ts';
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
    const folder = await this.#folder(volume, options, mounted, c);
    if (options.path === undefined) await addUser(mounted.files, volume.name, host, c);
    await mounts.bind(mounted, folder, target, options.readonly, c);
    // The kernel names the folder in the source of such a mount, and not only the share.
    const found = mountAt(readMountTable(), target);
    if (found === undefined) throw new PluginError('VOLUME_NOT_MOUNTED', { volume: volume.name });
    return { source: found.source, device: found.device, inside: '', shared: true };
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    // Of several on top of each other none may stay.
    while (mountAt(readMountTable(), target) !== undefined) {
      throwIfDone(c);
      await this.#parts.mounts.unbind(target, c);
    }
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

  /** The volume's folder, which is there. Errors: VOLUME_UNKNOWN when another host has removed the volume, SHARE_MISSING. */
  async #folder(volume: Volume, { path }: NfsOptions, { files, share }: MountedShare, c: Context): Promise<string> {
    const folder = folderOf(volume);
    if (folder === '' || (await files.hasFolder(folder, c))) return folder;
    const { name } = volume;
    if (path === undefined && (await readRecord(files, name, c)) === undefined) {
      throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    }
    throw new PluginError('SHARE_MISSING', { share: share.id, reason: `it has no folder /${folder}` });
  }
}

const shareOf = ({ name, handle: { share } }: Volume): string => {
  if (share !== undefined) return share;
  throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason: 'it is not known which share it is on' });
};
