import { writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
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
} from '../../volume-plugin/fuse/file-system.ts';

import { FOLDER, type MemoryNode, MemoryNodes, now, REGULAR, ROOT, TYPE } from './memory-nodes.ts';

const LINK = 0o120000;
const O_TRUNC = 0o1000;

export interface MemoryOptions {
  /** How long the kernel may rely on names and attributes. */
  readonly validMs?: number;
  /** Of the session: see there. */
  readonly resend?: boolean;
  readonly xattrs?: boolean;
  /** Give the kernel the files behind regular files that are opened for reading. */
  readonly passthrough?: boolean;
  /** Milliseconds that look-ups of names that begin with `slow` take, and reads and writes of files after `@slow`, unless they are interrupted. */
  readonly slowMs?: number;
}

/**
 * A file system for tests of what carries one: folders and attributes in memory and in a log, bytes in a file for each node,
 * so that the next life of an engine that was killed finds them. What was done is not done again when the kernel sends it again.
 */
export class MemoryFileSystem implements FileSystem {
  readonly #folder: string;
  readonly #options: MemoryOptions;
  readonly #nodes: MemoryNodes;
  readonly #slow = new Set<number>();
  #handles = Date.now() * 1000;
  kernel: Kernel | undefined;
  /** How often each operation was asked for. */
  readonly asked = new Map<string, number>();

  constructor(folder: string, options: MemoryOptions = {}) {
    this.#folder = folder;
    this.#nodes = new MemoryNodes(folder);
    this.#options = options;
  }

  async start(kernel: Kernel): Promise<void> {
    this.kernel = kernel;
    this.#nodes.start();
  }

  lookup(parent: number, name: string, caller: Caller): Entry | Promise<Entry> {
    this.#count('lookup');
    const find = (): Entry => this.#entry(this.#nodes.named(parent, name));
    return name.startsWith('slow') ? this.#slowly(caller).then(find) : find();
  }

  forget(): void {
    this.#count('forget');
  }

  getattr(node: number): TimedAttributes {
    this.#count('getattr');
    return this.#timed(this.#nodes.node(node));
  }

  setattr(id: number, changes: Changes, caller: Caller): TimedAttributes {
    this.#count('setattr');
    const node = this.#nodes.node(id);
    const at = now();
    if (changes.mode !== undefined) node.mode = (node.mode & TYPE) | (changes.mode & ~TYPE);
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.dropSetId === true && (node.mode & TYPE) === REGULAR) node.mode &= ~0o6000;
    if (changes.size !== undefined) this.#nodes.truncate(id, changes.size);
    if (changes.atime !== undefined) node.atime = changes.atime === 'now' ? at : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === 'now' ? at : changes.mtime;
    node.ctime = changes.ctime ?? at;
    this.#nodes.keep(caller, [node]);
    return this.#timed(node);
  }

  readlink(node: number): string {
    return this.#nodes.node(node).target;
  }

  symlink(parent: number, name: string, target: string, caller: Caller): Entry {
    return this.#make(parent, name, LINK | 0o777, caller, (node) => {
      node.target = target;
      node.size = Buffer.byteLength(target);
    });
  }

  mknod(parent: number, name: string, mode: number, rdev: number, caller: Caller): Entry {
    return this.#make(parent, name, mode, caller, (node) => {
      node.rdev = rdev;
    });
  }

  mkdir(parent: number, name: string, mode: number, caller: Caller): Entry {
    if (name.startsWith('@')) this.#obey(name.slice(1).split(':'));
    return this.#make(parent, name, FOLDER | mode, caller, () => undefined);
  }

  unlink(parent: number, name: string, caller: Caller): void {
    if (this.#nodes.done(caller) !== undefined) return;
    const node = this.#nodes.named(parent, name);
    if (node.children !== undefined) throw new Errno('EISDIR');
    node.nlink -= 1;
    this.#nodes.keep(caller, [node], [[parent, name, 0]]);
  }

  rmdir(parent: number, name: string, caller: Caller): void {
    if (this.#nodes.done(caller) !== undefined) return;
    const node = this.#nodes.named(parent, name);
    if (node.children === undefined) throw new Errno('ENOTDIR');
    if (node.children.size > 0) throw new Errno('ENOTEMPTY');
    node.nlink = 0;
    this.#nodes.keep(caller, [node], [[parent, name, 0]]);
  }

  rename(from: number, name: string, to: number, newName: string, flags: number, caller: Caller): void {
    if (this.#nodes.done(caller) !== undefined) return;
    const node = this.#nodes.named(from, name);
    const there = this.#nodes.folderOf(to).get(newName);
    if (flags === 2) {
      if (there === undefined) throw new Errno('ENOENT');
      this.#nodes.keep(
        caller,
        [],
        [
          [from, name, there],
          [to, newName, node.node],
        ],
      );
      return;
    }
    if (there === undefined) {
      this.#nodes.keep(
        caller,
        [],
        [
          [from, name, 0],
          [to, newName, node.node],
        ],
      );
      return;
    }
    if ((flags & 1) !== 0) throw new Errno('EEXIST');
    const replaced = this.#nodes.node(there);
    if (replaced.children !== undefined && replaced.children.size > 0) throw new Errno('ENOTEMPTY');
    replaced.nlink -= 1;
    this.#nodes.keep(
      caller,
      [replaced],
      [
        [from, name, 0],
        [to, newName, node.node],
      ],
    );
  }

  link(id: number, parent: number, name: string, caller: Caller): Entry {
    const node = this.#nodes.node(id);
    if (this.#nodes.done(caller) === undefined) {
      if (this.#nodes.folderOf(parent).has(name)) throw new Errno('EEXIST');
      node.nlink += 1;
      this.#nodes.keep(caller, [node], [[parent, name, id]]);
    }
    return this.#entry(node);
  }

  open(node: number, flags: number, caller: Caller): Opened {
    this.#count('open');
    if ((flags & O_TRUNC) !== 0) this.setattr(node, { size: 0 }, caller);
    const passes = this.#options.passthrough === true && (flags & 3) === 0;
    return { ...this.#opened(), ...(passes && { passthrough: this.#nodes.file(node) }) };
  }

  create(parent: number, name: string, mode: number, _flags: number, caller: Caller): Entry & Opened {
    return { ...this.#make(parent, name, REGULAR | mode, caller, () => undefined), ...this.#opened() };
  }

  read(
    node: number,
    _handle: number,
    offset: number,
    length: number,
    caller: Caller,
  ): readonly Buffer[] | Promise<readonly Buffer[]> {
    this.#count('read');
    if (this.#slow.has(node)) return this.#slowly(caller).then(() => this.#nodes.read(node, offset, length));
    return this.#nodes.read(node, offset, length);
  }

  write(
    id: number,
    _handle: number,
    offset: number,
    data: Buffer,
    _cached: boolean,
    caller: Caller,
  ): number | Promise<number> {
    this.#count('write');
    const write = (): number => this.#nodes.write(id, offset, data);
    return this.#slow.has(id) ? this.#slowly(caller).then(write) : write();
  }

  flush(): void {
    this.#count('flush');
  }

  fsync(): void {
    this.#count('fsync');
  }

  release(): void {
    this.#count('release');
  }

  fallocate(id: number, _handle: number, mode: number, offset: number, length: number, caller: Caller): void {
    const node = this.#nodes.node(id);
    if (mode !== 0) throw new Errno('ENOTSUP');
    if (node.size < offset + length) this.setattr(id, { size: offset + length }, caller);
  }

  lseek(id: number, _handle: number, offset: number, whence: number): number {
    const { size } = this.#nodes.node(id);
    if (offset >= size) throw new Errno('ENXIO');
    return whence === 3 ? offset : size;
  }

  copyRange(
    from: { readonly node: number; readonly offset: number },
    to: { readonly node: number; readonly handle: number; readonly offset: number },
    length: number,
    caller: Caller,
  ): number {
    this.#count('copyRange');
    let copied = 0;
    while (copied < length) {
      const [part] = this.#nodes.read(from.node, from.offset + copied, Math.min(length - copied, 1 << 20));
      if (part === undefined || part.length === 0) break;
      this.write(to.node, to.handle, to.offset + copied, part, false, caller);
      copied += part.length;
    }
    return copied;
  }

  opendir(): Opened {
    this.#count('opendir');
    return { handle: ++this.#handles, keepCache: false };
  }

  readdir(id: number, _handle: number, cookie: number, plus: boolean): readonly FolderEntry[] {
    this.#count('readdir');
    const children = this.#nodes.folderOf(id);
    const entries: FolderEntry[] = [];
    if (cookie < 1) entries.push({ name: '.', type: FOLDER, cookie: 1 });
    if (cookie < 2) entries.push({ name: '..', type: FOLDER, cookie: 2 });
    // Cookies are numbers of nodes, which only grow in a folder as long as nothing is renamed in it.
    for (const [name, child] of this.#nodes.behind(id, children, cookie)) {
      const node = this.#nodes.node(child);
      entries.push({ name, type: node.mode & TYPE, cookie: child + 2, ...(plus && { entry: this.#entry(node) }) });
      if (entries.length === 512) break;
    }
    return entries;
  }

  releasedir(): void {
    this.#count('releasedir');
  }

  fsyncdir(): void {
    this.#count('fsyncdir');
  }

  statfs(): FileSystemStat {
    return { blocks: 1 << 30, free: 1 << 29, files: 1 << 20, filesFree: 1 << 19, blockSize: 4096, nameMax: 255 };
  }

  syncfs(): void {
    this.#count('syncfs');
  }

  getxattr(node: number, name: string): Buffer {
    const value = this.#nodes.node(node).xattrs[name];
    if (value === undefined) throw new Errno('ENODATA');
    return Buffer.from(value, 'base64');
  }

  listxattr(node: number): readonly string[] {
    return Object.keys(this.#nodes.node(node).xattrs);
  }

  setxattr(id: number, name: string, value: Buffer, flags: number, caller: Caller): void {
    const node = this.#nodes.node(id);
    if (this.#nodes.done(caller) !== undefined) return;
    if (flags === 1 && node.xattrs[name] !== undefined) throw new Errno('EEXIST');
    if (flags === 2 && node.xattrs[name] === undefined) throw new Errno('ENODATA');
    node.xattrs[name] = value.toString('base64');
    this.#nodes.keep(caller, [node]);
  }

  removexattr(id: number, name: string, caller: Caller): void {
    const node = this.#nodes.node(id);
    if (this.#nodes.done(caller) !== undefined) return;
    if (node.xattrs[name] === undefined) throw new Errno('ENODATA');
    delete node.xattrs[name];
    this.#nodes.keep(caller, [node]);
  }

  async drain(left: (bytes: number, files: number) => void): Promise<void> {
    left(0, 0);
  }

  status(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.asked);
  }

  async close(): Promise<void> {
    this.#nodes.close();
  }

  /**
   * What tests want of the engine, as the name of a folder to be made, such as `@tell:file`; names are those in the root. It
   * is refused with EBUSY when it was done.
   */
  #obey([what, name = '', text = '']: readonly string[]): never {
    const node = name === '' ? ROOT : this.#nodes.named(ROOT, name).node;
    if (what === 'behind') {
      // As another host would: the kernel learns of it only when it is told.
      writeSync(this.#nodes.file(node), text, 0);
      this.#nodes.truncate(node, text.length);
    } else if (what === 'mode') this.#nodes.node(node).mode = REGULAR | Number.parseInt(text, 8);
    else if (what === 'unname') this.#nodes.setName(ROOT, name, 0);
    else if (what === 'tell') this.kernel?.invalidate(node, 0, 0);
    else if (what === 'tell-attributes') this.kernel?.invalidate(node, 0, -1);
    else if (what === 'tell-name') this.kernel?.invalidateName(node, text);
    else if (what === 'slow') this.#slow.add(node);
    else if (what === 'counts')
      writeFileSync(join(this.#folder, 'counts.json'), JSON.stringify(Object.fromEntries(this.asked)));
    else throw new TypeError('a mistake in the file system');
    throw new Errno('EBUSY');
  }

  #count(operation: string): void {
    this.asked.set(operation, (this.asked.get(operation) ?? 0) + 1);
  }

  #opened(): Opened {
    return { handle: ++this.#handles, keepCache: true };
  }

  #entry(node: MemoryNode): Entry {
    const ms = this.#options.validMs ?? 1000;
    return { attributes: node, entryMs: ms, attributesMs: ms };
  }

  #timed(node: MemoryNode): TimedAttributes {
    return { attributes: node, attributesMs: this.#options.validMs ?? 1000 };
  }

  #make(parent: number, name: string, mode: number, caller: Caller, change: (node: MemoryNode) => void): Entry {
    return this.#entry(this.#nodes.make(parent, name, mode, caller, change));
  }

  #slowly(caller: Caller): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, this.#options.slowMs ?? 200);
      caller.signal.addEventListener('abort', () => {
        this.#count('interrupted');
        clearTimeout(timer);
        reject(new Errno('EINTR'));
      });
    });
  }
}
