import type { Context } from '../../shared/context.ts';
import type { Share } from './share.ts';

/** What a share is asked to be when there is none yet. */
export interface ShareRequest {
  /** Of the file system that is made, in its vendor's words; what is usual there when absent. */
  readonly kind?: string;
  readonly encrypted?: boolean;
  /** The vendor's key. */
  readonly key?: string;
}

/**
 * Where shares come from. Calls may be repeated after a crash and then join what was begun. Errors of each: BACKEND_AUTH,
 * BACKEND_PERMISSION, BACKEND_UNREACHABLE, BACKEND_THROTTLED, BACKEND_REFUSED, DEADLINE.
 */
export interface ShareProvider {
  /** The value of NFS_PROVIDER. */
  readonly name: 'export' | 'efs' | 'nas';
  /** Finds out who this host is. Repeated until it succeeds; no other call but `close` comes before. */
  start(c: Context): Promise<void>;
  /** The ids of all shares on which the cluster's volumes may be without having been named by a volume: NFS_SHARE, or what was made for this cluster. Makes nothing. */
  usual(c: Context): Promise<readonly string[]>;
  /**
   * The id of the share for a volume that names none. `efs` and `nas` make a file system for the cluster, once: hosts that
   * ask at once get the same. Errors: OPTION_MISSING when there is none and none can be made.
   */
  ensure(request: ShareRequest, c: Context): Promise<string>;
  /**
   * How this host reaches a share, which ids of `usual` and `ensure` and whatever people type after `-o share=` name. For
   * `efs` and `nas` that makes a mount target where this host is, when there is none, and waits for it. Errors:
   * OPTION_INVALID for what names no share, SHARE_MISSING for one that does not exist.
   */
  locate(text: string, c: Context): Promise<Share>;
  /** What `locate` is at, in words; undefined: nothing that takes long. */
  progress?(text: string): string | undefined;
  /** Lets a folder of the share (absolute, on the share) grow to so many bytes; 0: as large as it likes. Absent where servers cannot. */
  limit?(share: Share, folder: string, bytes: number, c: Context): Promise<void>;
  close(): Promise<void>;
}
