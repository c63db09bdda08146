import type { Context } from '../../shared/context.ts';

/** Permissions of a new folder. */
export interface FolderTraits {
  readonly uid: number;
  readonly gid: number;
  /** Such as 0o755. */
  readonly mode: number;
}

export interface TextFile {
  readonly name: string;
  readonly content: string;
}

/** Files with records in them, on a share or in a bucket. Paths are relative to its root, without `..`. */
export interface RecordFiles {
  /** Makes a folder and those above it (root's, 0755); answers whether it is new. One that is there is left as it is. */
  makeFolder(path: string, traits: FolderTraits, c: Context): Promise<boolean>;
  /** Undefined: there is none. */
  readFile(path: string, c: Context): Promise<string | undefined>;
  /** All files of a folder whose names end with `ending`, in any order; none when there is no such folder. One that is too large for a record is empty. */
  readFiles(folder: string, ending: string, c: Context): Promise<readonly TextFile[]>;
  /** Writes a new file, durably, which appears whole or not at all; false: the name is taken, by whichever host. */
  createFile(path: string, content: string, c: Context): Promise<boolean>;
  /** Writes a file anew, durably and at once. */
  replaceFile(path: string, content: string, c: Context): Promise<void>;
  /**
   * Writes a file of this host's alone, durably; after a crash it may be there and empty. Absent where that takes as long as
   * `createFile`.
   */
  noteFile?(path: string, content: string, c: Context): Promise<void>;
  removeFile(path: string, c: Context): Promise<void>;
  /** Names in a folder; none when there is no such folder. */
  names(folder: string, c: Context): Promise<readonly string[]>;
}

/**
 * Files of a mounted share; no symbolic link is followed on the way. What may hang is done by a process that is killed
 * when time is up, so nothing here ever blocks the caller's process.
 *
 * Errors of each: SHARE_SILENT (the server does not answer: retry), SHARE_READONLY, SHARE_REFUSED (permission; root
 * squash), BACKEND_REFUSED (no space, quota, a file where a folder should be), DEADLINE.
 */
export interface ShareFiles extends RecordFiles {
  /** Is there a folder? */
  hasFolder(path: string, c: Context): Promise<boolean>;
  /** Moves a file or folder; false: there is none. */
  move(from: string, to: string, c: Context): Promise<boolean>;
  /** Removes all there is in and below a folder, which may take long; it may be cut off at any time and begun anew. */
  removeTree(path: string, c: Context): Promise<void>;
  /** Bytes of the file system that a path is on, as its server tells them. */
  room(path: string, c: Context): Promise<{ readonly size: number; readonly free: number }>;
}
