import type { Context } from '../../shared/context.ts';
import type { MountOptions, NfsVersion, Share } from './share.ts';
import type { ShareFiles } from './share-files.ts';

/** How a share is to be mounted. */
export interface MountWish {
  /** Only this version; the best of both sides when absent. */
  readonly version?: NfsVersion;
  /** In the place of what the vendor recommends, option by option. */
  readonly options: MountOptions;
  /** For a share that its server lets nobody write to. */
  readonly readonly: boolean;
}

/** A share that is mounted on this host, once for each wish, for all volumes on it. */
export interface MountedShare {
  readonly share: Share;
  /** What was agreed on with the server. */
  readonly version: NfsVersion;
  /** Those that were given to the kernel, as one text. */
  readonly options: string;
  /** The source and the device as the kernel's mount table shows them. */
  readonly source: string;
  readonly device: string;
  readonly readonly: boolean;
  readonly files: ShareFiles;
}

/**
 * What the kernel's mount table shows of a folder that is mounted: of NFS the source has the folder's path behind that of
 * the share, and below a nested export another device.
 */
export interface Bound {
  readonly source: string;
  readonly device: string;
}

/** Is its server there? */
export interface ShareHealth {
  readonly answering: boolean;
  /** Epoch milliseconds since when it is as it is. */
  readonly since: number;
  /** Why it does not answer. */
  readonly reason?: string;
}

/**
 * The mounts of shares on this host. Nothing here waits for a server in the plugin's own process, and one that does not
 * answer holds up nothing that is on others.
 */
export interface ShareMounts {
  /**
   * Mounts a share that is not mounted yet (asked for at once, once), after a look at its server of at most 5 s. Errors:
   * SHARE_UNRESOLVED, SHARE_UNREACHABLE, SHARE_MISSING, SHARE_REFUSED, SHARE_VERSION, SHARE_SILENT.
   */
  ensure(share: Share, wish: MountWish, c: Context): Promise<MountedShare>;
  /**
   * Mounts a folder of it (relative to its root; '' is all of it) at `target`; when it is mounted there already, verifies
   * that. No symbolic link is followed. Errors: SHARE_SILENT, SHARE_MISSING when there is no such folder, BACKEND_REFUSED.
   */
  bind(mounted: MountedShare, folder: string, target: string, readonly: boolean, c: Context): Promise<Bound>;
  /** Unmounts what is at `target`, in the end by force and lazily when the server is gone. Errors: VOLUME_IN_USE. */
  unbind(target: string, c: Context): Promise<void>;
  /** Unmounts what nothing is bound from any more, after a while. Answers at once. */
  release(shareId: string): void;
  /** From what is known; no I/O. Undefined: nothing of this share is mounted here. */
  health(shareId: string): ShareHealth | undefined;
  /** Stops looking at servers; mounts stay. */
  close(): Promise<void>;
}
