import type { Context } from '../../shared/context.ts';
import type { ObjectFacts } from '../object/store.ts';

/** The object that a file's bytes are, as far as nobody has changed them here. */
export interface Base {
  readonly key: string;
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
}

/** The file whose bytes a content is: what it asks the namespace for, and tells it. */
export interface FileHome {
  /** Of its node; stays the same over renames and the engine's lives. */
  readonly node: number;
  /** Where it is stored now; undefined once it was unlinked: then it is uploaded no more. */
  key(): string | undefined;
  /** What is stored with it: mode, owner, times. */
  description(): { readonly meta: Readonly<Record<string, string>>; readonly contentType?: string };
  /** What was written here is the object there. `seen`: the description that went with it is the current one. */
  stored(facts: ObjectFacts): void;
  /** Somebody else had changed the object: what was written here is in the object `keptAs` now, and the file is theirs. */
  conflicted(keptAs: string): void;
}

/**
 * The bytes of one file, made when it is opened first, the same for all who have it open, and kept until it is neither open
 * nor dirty. Calls for one content may come at any time; it orders them itself: a read sees every write that was answered
 * before it came. Failures are `Errno`s.
 */
export interface FileContent {
  /** With what was written. */
  readonly size: number;
  /** Is anything not in the store? */
  readonly dirty: boolean;
  /** The object that unchanged bytes come from; undefined: there is none (yet). */
  readonly base: Base | undefined;
  /** At once where the bytes are at hand. Fewer than `length` only at the end. */
  read(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]>;
  /**
   * Acknowledged when the local staging file and the state log have it: it survives the engine's death. `data` may be
   * changed by the caller afterwards. ENOSPC when the budget is used up: nothing of it is written then.
   */
  write(offset: number, data: Buffer, c: Context): number | Promise<number>;
  /** Larger (zeros) or smaller. */
  truncate(size: number, c: Context): void | Promise<void>;
  /** Zeros in place of what is there, within the size; `keepSize` false extends. */
  zero(offset: number, length: number, keepSize: boolean, c: Context): void | Promise<void>;
  /** From where on there is data (true) or a hole (false); undefined: none up to the end. */
  seek(offset: number, data: boolean): number | undefined;
  /**
   * Returns when everything that was written before it is in the store under the home's key, by one change that others see
   * whole or not at all; joins an upload that goes on already. Failures: EIO (text says why), ENOSPC and EDQUOT (the bucket's quota),
   * EROFS, EACCES, ETIMEDOUT; after a lost update ESTALE, once: the bytes are kept as `home.conflicted` was told. What failed stays dirty.
   */
  flush(c: Context): Promise<void>;
  /** Begins to bring it to the store and answers at once; repeats until it succeeds. For `durability=local`, and after recovery. */
  flushLater(): void;
  /** On this host's disk, whatever happens to the host: `durability=local`. */
  sync(c: Context): Promise<void>;
  /** The object was changed by others, and nothing is dirty here: reads come from the new one from now on. */
  rebase(base: Base | undefined): void;
  /** Its object is about to be removed or replaced while it is open: keeps what readers need. `copy` is where the namespace has put a copy, if it did. */
  detach(copy: Base | undefined, c: Context): void | Promise<void>;
  /** A descriptor of a local file that has all of it, and will not change while it is open; undefined: there is none. */
  local(): number | undefined;
  /** Nobody has it open any more. Dirty bytes stay, and go to the store when they were flushed or `flushLater` was called; of an unlinked file they are dropped. */
  release(): void;
}

/** All contents of a volume, and the room that they take. */
export interface Contents {
  /** The content of a node: the one that is open or dirty already, else one of `base` (undefined: a new file, which is dirty from the start). */
  of(home: FileHome, base: Base | undefined): FileContent;
  /** That of a node which is open or dirty; undefined: nothing is at hand. */
  find(node: number): FileContent | undefined;
  /** Nodes whose bytes are not in the store, after a start too. */
  dirtyNodes(): readonly number[];
  /** After a start, when the namespace knows its nodes again: takes up what an earlier life has left. `homeOf` undefined: the node is gone. */
  recover(homeOf: (node: number) => FileHome | undefined): Promise<void>;
  /** Everything that is dirty is brought to the store; ends when it is. */
  drain(left: (bytes: number, files: number) => void): Promise<void>;
  /** Status: bytes in the cache and in staging files, what waits for upload, the last failure. */
  status(): Readonly<Record<string, string | number | boolean>>;
  close(): Promise<void>;
}
