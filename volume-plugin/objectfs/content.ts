import type { Context } from '../../shared/context.ts';
import type { NewObject, ObjectFacts } from '../object/store.ts';
import type { StateRecord } from './state-log.ts';

/** The object that a file's bytes are, as far as nobody has changed them here. */
export interface Base {
  readonly key: string;
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
}

/** What is stored with the bytes of a file: mode, owner, times. Of the store's `metaMax` the contents need 40 bytes themselves (`drayage-write`). */
export type Description = Omit<NewObject, 'condition'>;

/** The file whose bytes a content is: what it asks the namespace for, and tells it. None of these may throw. */
export interface FileHome {
  /** Of its node; stays the same over renames and the engine's lives. */
  readonly node: number;
  /** Where it is stored now; undefined once it was unlinked: then it is uploaded no more. */
  key(): string | undefined;
  /** ETag of what is at `key()` and shall be replaced, asked for when that is not the base: after a rename. Undefined: nothing is there. */
  replaces(): string | undefined;
  /** Asked for when an upload begins, which is while a long file is written still. */
  description(): Description;
  /**
   * What was written here is the object there now; with it was stored `described`: when the file's description is another one
   * by now, that is the namespace's to mend. `facts.key` is not `key()` when it was renamed without `hold`.
   */
  stored(facts: ObjectFacts, described: Description): void;
  /** Where bytes are kept that lost against somebody else's change: `name.conflict-<host>-<time>`. */
  conflictKey(): string;
  /**
   * Somebody else had changed the object: what was written here is in the object `keptAs` now, and the file is theirs
   * (undefined: they have removed it). `whole` false: bytes that came from the object before their change could not be had any
   * more and are zeros in `keptAs`; what was written here is there.
   */
  conflicted(keptAs: string, whole: boolean, theirs: ObjectFacts | undefined): void;
  /** A read has found that the base is not in the store any more. `now`: what is, if anything; the content has gone over to it if `rebased`. */
  changed(now: ObjectFacts | undefined, rebased: boolean): void;
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
  /**
   * At once where the bytes are at hand. Fewer than `length` only at the end. The buffers stay as they are until the turn of the event
   * loop that answers is over (so: until a `setImmediate` that is set then); later their memory may have other bytes.
   * ESTALE when the object was changed by others and bytes of the old one were read already.
   */
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
   * From a lost update on until that was told, over the engine's death too, changes are refused with ESTALE: they would come to lie over
   * somebody else's.
   */
  flush(c: Context): Promise<void>;
  /** That of a lost update was told is written down where a request that comes again will find it: the next life need not tell it. */
  told(): void;
  /** Begins to bring it to the store and answers at once; repeats until it succeeds. For `durability=local`, and after recovery. */
  flushLater(): void;
  /** On this host's disk, whatever happens to the host: `durability=local`. */
  sync(c: Context): Promise<void>;
  /** The object was changed by others, and nothing is dirty here: reads come from the new one from now on. */
  rebase(base: Base | undefined): void;
  /**
   * The namespace has copied its base (a rename, other metadata), under `hold`: the same bytes are there now. Also when there are
   * newer ones here: what is not written is read from this one, and this is what the next upload replaces.
   */
  moved(base: Base): void;
  /**
   * Its object is about to be removed or replaced while it is open: keeps what readers need. `copy` is where the namespace has put a copy,
   * if it did. What is answered is called when the object stays after all: what nobody has written must not be stored as if somebody had.
   */
  detach(copy: Base | undefined, c: Context): Promise<() => void>;
  /** A descriptor of a local file that has all of it, and will not change while it is open; undefined: there is none. */
  local(): number | undefined;
  /**
   * Answers when nothing of it is being put in its place in the store; nothing is until what is answered here is called. For
   * renaming and unlinking: what is in the store, and under which key, stays as it is meanwhile. Parts may go on.
   */
  hold(c: Context): Promise<() => void>;
  /**
   * Under `hold`: an upload whose answer was lost may have put its object there. It is looked for, and is the base then; undefined:
   * there is none. Whoever removes or renames the file must know of it. Errors: StoreError.
   */
  landed(c: Context): Promise<ObjectFacts | undefined>;
  /** Nobody has it open any more. Dirty bytes stay, and go to the store as after `flushLater`; of an unlinked file they are dropped. */
  release(): void;
}

/** All contents of a volume, and the room that they take. Made by `openContents` (content-set.ts). */
export interface Contents {
  /** The content of a node: the one that is open or dirty already, else one of `base` (undefined: a new file, which is dirty from the start). */
  of(home: FileHome, base: Base | undefined): FileContent;
  /** That of a node which is open or dirty; undefined: nothing is at hand. */
  find(node: number): FileContent | undefined;
  /** Are all the bytes of this object on this host? Then opening it needs a HEAD only. */
  has(base: Base): boolean;
  /** All bytes of a small object, fetched by the namespace when it looked whether it had changed. The buffers are the contents' from now on. */
  offer(base: Base, data: readonly Buffer[]): void;
  /** Nodes whose bytes are not in the store, after a start too. */
  dirtyNodes(): readonly number[];
  /** What a compaction of the state log must keep of the contents, at this moment. The file system hands it to the log's `keeps`. */
  records(): Iterable<StateRecord>;
  /**
   * After a start, when the namespace knows its nodes again: takes up what an earlier life has left. `homeOf` undefined: the node
   * is gone. What `isOpen` is kept, and tells who closes it what has become of it, as in the life in which it was opened.
   */
  recover(homeOf: (node: number) => FileHome | undefined, isOpen?: (node: number) => boolean): Promise<void>;
  /** Everything that is dirty is brought to the store; ends when it is. */
  drain(left: (bytes: number, files: number) => void): Promise<void>;
  /** Status: bytes in the cache and in staging files, what waits for upload, the last failure. */
  status(): Readonly<Record<string, string | number | boolean>>;
  close(): Promise<void>;
}
