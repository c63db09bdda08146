import {
  type Answer,
  type Caller,
  type Changes,
  type Entry,
  Errno,
  type FileSystem,
  type FileSystemStat,
  type FolderEntry,
  type Kernel,
  type Opened,
  type TimedAttributes,
} from '../fuse/file-system.ts';
import { Files } from './files.ts';
import { Finding } from './finding.ts';
import { FolderRenaming } from './folder-renaming.ts';
import { Making } from './making.ts';
import { Memory } from './memory.ts';
import { makeParts, type Parts } from './namespace-parts.ts';
import { NAME_MAX } from './naming.ts';
import { patiently } from './patience.ts';
import { Removing } from './removing.ts';
import { Renaming } from './renaming.ts';
import { Setting } from './setting.ts';
import { Space, type SpaceOptions } from './space.ts';
import { asErrno } from './store-errno.ts';

/** A bucket has no bounds that it tells: a pebibyte, all of it free. */
const BLOCK = 4_096;
const BLOCKS = 2 ** 50 / BLOCK;
const FILES = 2 ** 40;
/** How often renames that other hosts have left are looked for. */
const ADOPT_MS = 60_000;

/** A bucket's prefix as a file system: names and attributes here, bytes by `Contents`. docs/semantics.md says what it promises. */
export class ObjectFileSystem implements FileSystem {
  readonly #options: SpaceOptions;
  readonly #parts: Parts;
  readonly #finding: Finding;
  readonly #files: Files;
  readonly #making: Making;
  readonly #removing: Removing;
  readonly #renaming: Renaming;
  readonly #folders: FolderRenaming;
  readonly #setting: Setting;
  readonly #memory: Memory;
  /** What an earlier life has begun is being finished; requests that come again wait for it. */
  #recovering: Promise<void> = Promise.resolve();
  #adopting: NodeJS.Timeout | undefined;

  constructor(options: SpaceOptions) {
    this.#options = options;
    const space = new Space(options);
    this.#parts = makeParts(space, (node, facts) => this.#renaming.misplaced(node, facts));
    this.#finding = new Finding(this.#parts);
    this.#files = new Files(this.#parts);
    this.#making = new Making(this.#parts, this.#files);
    this.#removing = new Removing(this.#parts);
    this.#folders = new FolderRenaming(this.#parts, this.#removing);
    this.#renaming = new Renaming(this.#parts, this.#removing, this.#folders);
    this.#setting = new Setting(this.#parts, this.#files);
    this.#memory = new Memory(this.#parts, options.log);
    options.log.keeps(() => options.contents.records());
  }

  async start(kernel: Kernel): Promise<void> {
    const { space, homes, saver } = this.#parts;
    space.kernel = kernel;
    this.#memory.recall(this.#options.survived);
    const isOpen = (id: number): boolean => (space.nodes.get(id)?.live?.opens ?? 0) > 0;
    await this.#options.contents.recover((id) => {
      const node = space.nodes.get(id);
      // What was unlinked, and is not open any more, is nobody's.
      const isNeeded = node !== undefined && !(node.unlinked && !isOpen(id));
      return isNeeded ? homes.of(node) : undefined;
    }, isOpen);
    this.#memory.recovered();
    this.#options.log.compact();
    for (const node of space.nodes.values()) if (node.isChanged && !node.unlinked) saver.later(node);
    this.#recovering = this.#finishBegun();
    this.#recovering.catch((error: unknown) => space.failed('what was begun before could not be finished', error));
    this.#adopting = setInterval(() => {
      this.#folders.adopt().catch((error: unknown) => space.failed('renames of other hosts were not looked at', error));
    }, this.#options.adoptMs ?? ADOPT_MS).unref();
  }

  async #finishBegun(): Promise<void> {
    const { space, handles } = this.#parts;
    const { journal, store } = space;
    for (const move of journal.renames) await this.#renaming.resume(move);
    for (const move of journal.trees) await this.#folders.resume(move);
    const open = new Set([...handles.values()].map(({ node }) => node.id));
    for (const orphan of journal.orphans) {
      if (open.has(orphan.node)) continue;
      await store.remove(orphan.key, space.context());
      journal.dropOrphan(orphan);
    }
  }

  lookup(parent: number, name: string, caller: Caller): Answer<Entry> {
    const late = ({ attributes }: Entry): void => this.forget(attributes.node, 1);
    return patiently(
      guard(() => this.#finding.lookup(parent, name, caller)),
      caller,
      late,
    );
  }

  forget(id: number, count: number): void {
    const { space } = this.#parts;
    const node = space.nodes.get(id);
    if (node === undefined) return;
    space.nodes.forget(node, count);
    space.drop(node);
  }

  getattr(node: number, _handle: number | undefined, caller: Caller): Answer<TimedAttributes> {
    return patiently(
      guard(() => this.#setting.getattr(node, caller)),
      caller,
    );
  }

  setattr(node: number, changes: Changes, _caller: Caller): Answer<TimedAttributes> {
    return guard(() => this.#setting.setattr(node, changes));
  }

  readlink(node: number, caller: Caller): Answer<string> {
    return patiently(
      guard(() => this.#setting.readlink(node)),
      caller,
    );
  }

  symlink(parent: number, name: string, target: string, caller: Caller): Answer<Entry> {
    return guard(() => this.#making.symlink(parent, name, target, caller));
  }

  mknod(parent: number, name: string, mode: number, rdev: number, caller: Caller): Answer<Entry> {
    return guard(() => this.#making.mknod(parent, name, mode, rdev, caller));
  }

  mkdir(parent: number, name: string, mode: number, caller: Caller): Answer<Entry> {
    return guard(() => this.#making.mkdir(parent, name, mode, caller));
  }

  unlink(parent: number, name: string, caller: Caller): Answer<void> {
    return guard(() => this.#afterRecovery(caller, () => this.#removing.unlink(parent, name, caller)));
  }

  rmdir(parent: number, name: string, caller: Caller): Answer<void> {
    return guard(() => this.#afterRecovery(caller, () => this.#removing.rmdir(parent, name, caller)));
  }

  rename(from: number, name: string, to: number, newName: string, flags: number, caller: Caller): Answer<void> {
    return guard(() =>
      this.#afterRecovery(caller, () => this.#renaming.rename(from, name, to, newName, flags, caller)),
    );
  }

  async #afterRecovery<T>(caller: Caller, work: () => Promise<T>): Promise<T> {
    if (caller.resent) await this.#recovering;
    return await work();
  }

  link(_node: number, _parent: number, _name: string, _caller: Caller): Answer<Entry> {
    throw new Errno('EPERM', 'an object has one name');
  }

  open(node: number, flags: number, caller: Caller): Answer<Opened> {
    const late = ({ handle }: Opened): void => this.#files.release(handle);
    return patiently(
      guard(() => this.#files.open(node, flags, caller)),
      caller,
      late,
    );
  }

  create(parent: number, name: string, mode: number, flags: number, caller: Caller): Answer<Entry & Opened> {
    return guard(() => this.#making.create(parent, name, mode, flags, caller));
  }

  read(node: number, _handle: number, offset: number, length: number, caller: Caller): Answer<readonly Buffer[]> {
    return patiently(
      guard(() => this.#files.read(node, offset, length)),
      caller,
    );
  }

  write(node: number, _handle: number, offset: number, data: Buffer): Answer<number> {
    return guard(() => this.#files.write(node, offset, data));
  }

  flush(node: number, handle: number, caller: Caller): Answer<void> {
    return patiently(
      guard(() => this.#files.flush(node, handle, caller)),
      caller,
    );
  }

  fsync(node: number, _handle: number, _dataOnly: boolean, caller: Caller): Answer<void> {
    return patiently(
      guard(() => this.#files.fsync(node, caller)),
      caller,
    );
  }

  release(_node: number, handle: number, _caller: Caller): Answer<void> {
    return guard(() => this.#files.release(handle));
  }

  fallocate(node: number, _handle: number, mode: number, offset: number, length: number): Answer<void> {
    return guard(() => this.#files.fallocate(node, mode, offset, length));
  }

  lseek(node: number, _handle: number, offset: number, whence: number): Answer<number> {
    return guard(() => this.#files.lseek(node, offset, whence));
  }

  copyRange(
    from: { readonly node: number; readonly handle: number; readonly offset: number },
    to: { readonly node: number; readonly handle: number; readonly offset: number },
    length: number,
  ): Answer<number> {
    return guard(() => this.#files.copyRange(from, to, length));
  }

  opendir(node: number, caller: Caller): Answer<Opened> {
    return guard(() => this.#parts.reading.open(node, caller));
  }

  readdir(
    _node: number,
    handle: number,
    cookie: number,
    plus: boolean,
    caller: Caller,
  ): Answer<readonly FolderEntry[]> {
    const late = (entries: readonly FolderEntry[]): void => {
      for (const { entry } of entries) if (entry !== undefined) this.forget(entry.attributes.node, 1);
    };
    return patiently(
      guard(() => this.#parts.reading.read(handle, cookie, plus, caller)),
      caller,
      late,
    );
  }

  releasedir(_node: number, handle: number, _caller: Caller): Answer<void> {
    return guard(() => this.#parts.reading.close(handle));
  }

  fsyncdir(id: number, _handle: number, _caller: Caller): Answer<void> {
    return guard(async () => {
      const { space, saver } = this.#parts;
      const node = space.node(id);
      if (!node.unlinked) await saver.now(node);
    });
  }

  statfs(_caller: Caller): Answer<FileSystemStat> {
    return {
      ...{ blocks: BLOCKS, free: BLOCKS, files: FILES, filesFree: FILES },
      ...{ blockSize: BLOCK, nameMax: NAME_MAX },
    };
  }

  syncfs(_caller: Caller): Answer<void> {
    return guard(() => this.drain(() => undefined));
  }

  getxattr(node: number, name: string, _caller: Caller): Answer<Buffer> {
    return guard(() => this.#setting.getxattr(node, name));
  }

  listxattr(node: number, _caller: Caller): Answer<readonly string[]> {
    return guard(() => this.#setting.listxattr(node));
  }

  setxattr(node: number, name: string, value: Buffer, flags: number, _caller: Caller): Answer<void> {
    return guard(() => this.#setting.setxattr(node, name, value, flags));
  }

  removexattr(node: number, name: string, _caller: Caller): Answer<void> {
    return guard(() => this.#setting.removexattr(node, name));
  }

  /** Bytes, attributes, notes, and what an earlier life had begun. */
  async drain(left: (bytes: number, files: number) => void): Promise<void> {
    const { saver, notes } = this.#parts;
    await this.#recovering;
    await this.#options.contents.drain(left);
    await saver.settled();
    await notes.settled();
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    const { space, handles, lookups, listings, notes, saver, storms } = this.#parts;
    return {
      ...this.#options.contents.status(),
      nodes: space.nodes.size,
      open: handles.size,
      lookups: lookups.asked,
      lookupsFromListings: storms.answered,
      listings: listings.begun,
      listedEntries: listings.entries,
      hiddenObjects: space.counts.hidden,
      conflicts: space.counts.conflicts,
      attributesWaiting: saver.waiting,
      notesWaiting: notes.waiting,
      foldersBeingRenamed: this.#folders.running,
      ...(space.lastFailure !== '' && { lastNamespaceFailure: space.lastFailure }),
    };
  }

  async close(): Promise<void> {
    const { space, saver, notes } = this.#parts;
    clearInterval(this.#adopting);
    saver.close();
    notes.close();
    this.#renaming.close();
    space.end();
    await this.#recovering.catch(() => undefined);
    await this.#options.contents.close();
    space.writeForgotten();
    this.#options.log.close();
  }
}

/** Whatever fails is told to the kernel as an errno. */
const guard = <T>(work: () => Answer<T>): Answer<T> => {
  try {
    const answer = work();
    return answer instanceof Promise ? answer.catch((error: unknown) => Promise.reject(asErrno(error))) : answer;
  } catch (error) {
    throw asErrno(error);
  }
};
