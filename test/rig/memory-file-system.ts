import {
  appendFileSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  type Attributes,
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

const TYPE = 0o170000;
const FOLDER = 0o040000;
const REGULAR = 0o100000;
const LINK = 0o120000;
const O_TRUNC = 0o1000;
const ROOT = 1;

type Changeable = { -readonly [K in keyof Attributes]: Attributes[K] };

interface Node extends Changeable {
  target: string;
  /** Base64. */
  xattrs: Record<string, string>;
  children: Map<string, number> | undefined;
}

export interface MemoryOptions {
  /** How long the kernel may rely on names and attributes. */
  readonly validMs?: number;
  /** Give the kernel the files behind regular files that are opened for reading. */
  readonly passthrough?: boolean;
  /** Milliseconds that look-ups of names that begin with `slow` take, and reads and writes of files after `@slow`, unless they are interrupted. */
  readonly slowMs?: number;
}

/** A line of the log: what a change has left, and the number of the request that made it. */
interface Line {
  readonly unique: string;
  readonly nodes?: readonly Record<string, unknown>[];
  /** Parent, name and node; 0: the name is gone. */
  readonly names?: readonly (readonly [number, string, number])[];
  readonly answer?: number;
}

/**
 * A file system for tests of what carries one: folders and attributes in memory and in a log, bytes in a file for each node,
 * so that the next life of an engine that was killed finds them. What was done is not done again when the kernel sends it again.
 */
export class MemoryFileSystem implements FileSystem {
  readonly #folder: string;
  readonly #options: MemoryOptions;
  readonly #nodes = new Map<number, Node>();
  /** What a request of an earlier life was answered with, by its number. */
  readonly #answers = new Map<string, number>();
  readonly #files = new Map<number, number>();
  readonly #slow = new Set<number>();
  #log = -1;
  #last = ROOT;
  #handles = Date.now() * 1000;
  kernel: Kernel | undefined;
  /** How often each operation was asked for. */
  readonly asked = new Map<string, number>();

  constructor(folder: string, options: MemoryOptions = {}) {
    this.#folder = folder;
    this.#options = options;
  }

  async start(kernel: Kernel): Promise<void> {
    this.kernel = kernel;
    mkdirSync(join(this.#folder, 'bytes'), { recursive: true });
    const path = join(this.#folder, 'memory.log');
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#nodes.set(ROOT, newNode(ROOT, FOLDER | 0o755, 0, 0, now));
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const lines = text.split('\n');
    // A write is cut short at a page's end when the writer is killed in it: what it was for is sent again.
    const torn = lines.pop() ?? '';
    if (torn !== '') truncateSync(path, Buffer.byteLength(text) - Buffer.byteLength(torn));
    for (const line of lines) this.#replay(line);
    // The kernel's count of requests begins anew with each mount.
    if (!existsSync(join(this.#folder, 'init.json'))) {
      this.#answers.clear();
      appendFileSync(path, `${JSON.stringify({ unique: 'mount' })}\n`);
    }
    this.#log = openSync(path, 'a');
  }

  lookup(parent: number, name: string, caller: Caller): Entry | Promise<Entry> {
    this.#count('lookup');
    const find = (): Entry => this.#entry(this.#named(parent, name));
    return name.startsWith('slow') ? this.#slowly(caller).then(find) : find();
  }

  forget(): void {
    this.#count('forget');
  }

  getattr(node: number): TimedAttributes {
    this.#count('getattr');
    return this.#timed(this.#node(node));
  }

  setattr(id: number, changes: Changes, caller: Caller): TimedAttributes {
    this.#count('setattr');
    const node = this.#node(id);
    const now = BigInt(Date.now()) * 1_000_000n;
    if (changes.mode !== undefined) node.mode = (node.mode & TYPE) | (changes.mode & ~TYPE);
    if (changes.uid !== undefined) node.uid = changes.uid;
    if (changes.gid !== undefined) node.gid = changes.gid;
    if (changes.dropSetId === true && (node.mode & TYPE) === REGULAR) node.mode &= ~0o6000;
    if (changes.size !== undefined) {
      ftruncateSync(this.#file(id), changes.size);
      node.size = changes.size;
      node.mtime = now;
    }
    if (changes.atime !== undefined) node.atime = changes.atime === 'now' ? now : changes.atime;
    if (changes.mtime !== undefined) node.mtime = changes.mtime === 'now' ? now : changes.mtime;
    node.ctime = changes.ctime ?? now;
    this.#keep(caller, [node]);
    return this.#timed(node);
  }

  readlink(node: number): string {
    return this.#node(node).target;
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
    if (this.#done(caller) !== undefined) return;
    const node = this.#named(parent, name);
    if (node.children !== undefined) throw new Errno('EISDIR');
    node.nlink -= 1;
    this.#keep(caller, [node], [[parent, name, 0]]);
  }

  rmdir(parent: number, name: string, caller: Caller): void {
    if (this.#done(caller) !== undefined) return;
    const node = this.#named(parent, name);
    if (node.children === undefined) throw new Errno('ENOTDIR');
    if (node.children.size > 0) throw new Errno('ENOTEMPTY');
    node.nlink = 0;
    this.#keep(caller, [node], [[parent, name, 0]]);
  }

  rename(from: number, name: string, to: number, newName: string, flags: number, caller: Caller): void {
    if (this.#done(caller) !== undefined) return;
    const node = this.#named(from, name);
    const there = this.#folderOf(to).get(newName);
    if (flags === 2) {
      if (there === undefined) throw new Errno('ENOENT');
      this.#keep(
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
      this.#keep(
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
    const replaced = this.#node(there);
    if (replaced.children !== undefined && replaced.children.size > 0) throw new Errno('ENOTEMPTY');
    replaced.nlink -= 1;
    this.#keep(
      caller,
      [replaced],
      [
        [from, name, 0],
        [to, newName, node.node],
      ],
    );
  }

  link(id: number, parent: number, name: string, caller: Caller): Entry {
    const node = this.#node(id);
    if (this.#done(caller) === undefined) {
      if (this.#folderOf(parent).has(name)) throw new Errno('EEXIST');
      node.nlink += 1;
      this.#keep(caller, [node], [[parent, name, id]]);
    }
    return this.#entry(node);
  }

  open(node: number, flags: number, caller: Caller): Opened {
    this.#count('open');
    if ((flags & O_TRUNC) !== 0) this.setattr(node, { size: 0 }, caller);
    const passes = this.#options.passthrough === true && (flags & 3) === 0;
    return { ...this.#opened(), ...(passes && { passthrough: this.#file(node) }) };
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
    if (this.#slow.has(node)) return this.#slowly(caller).then(() => this.#read(node, offset, length));
    return this.#read(node, offset, length);
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
    const node = this.#node(id);
    const write = (): number => {
      writeSync(this.#file(id), data, 0, data.length, offset);
      node.size = Math.max(node.size, offset + data.length);
      node.mtime = BigInt(Date.now()) * 1_000_000n;
      // It can be repeated: nothing is remembered of who asked.
      this.#append({ unique: '0', nodes: [plain(node)] });
      return data.length;
    };
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
    const node = this.#node(id);
    if (mode !== 0) throw new Errno('ENOTSUP');
    if (node.size < offset + length) this.setattr(id, { size: offset + length }, caller);
  }

  lseek(id: number, _handle: number, offset: number, whence: number): number {
    const { size } = this.#node(id);
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
      const [part] = this.#read(from.node, from.offset + copied, Math.min(length - copied, 1 << 20));
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
    const children = this.#folderOf(id);
    const entries: FolderEntry[] = [];
    if (cookie < 1) entries.push({ name: '.', type: FOLDER, cookie: 1 });
    if (cookie < 2) entries.push({ name: '..', type: FOLDER, cookie: 2 });
    // Cookies are numbers of nodes, which only grow in a folder as long as nothing is renamed in it.
    for (const [name, child] of this.#behind(id, children, cookie)) {
      const node = this.#node(child);
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
    const value = this.#node(node).xattrs[name];
    if (value === undefined) throw new Errno('ENODATA');
    return Buffer.from(value, 'base64');
  }

  listxattr(node: number): readonly string[] {
    return Object.keys(this.#node(node).xattrs);
  }

  setxattr(id: number, name: string, value: Buffer, flags: number, caller: Caller): void {
    const node = this.#node(id);
    if (this.#done(caller) !== undefined) return;
    if (flags === 1 && node.xattrs[name] !== undefined) throw new Errno('EEXIST');
    if (flags === 2 && node.xattrs[name] === undefined) throw new Errno('ENODATA');
    node.xattrs[name] = value.toString('base64');
    this.#keep(caller, [node]);
  }

  removexattr(id: number, name: string, caller: Caller): void {
    const node = this.#node(id);
    if (this.#done(caller) !== undefined) return;
    if (node.xattrs[name] === undefined) throw new Errno('ENODATA');
    delete node.xattrs[name];
    this.#keep(caller, [node]);
  }

  async drain(left: (bytes: number, files: number) => void): Promise<void> {
    left(0, 0);
  }

  status(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.asked);
  }

  async close(): Promise<void> {
    for (const fd of this.#files.values()) closeSync(fd);
    if (this.#log >= 0) closeSync(this.#log);
    this.#log = -1;
  }

  /**
   * What tests want of the engine, as the name of a folder to be made, such as `@tell:file`; names are those in the root. It
   * is refused with EBUSY when it was done.
   */
  #obey([what, name = '', text = '']: readonly string[]): never {
    const node = name === '' ? ROOT : this.#named(ROOT, name).node;
    if (what === 'behind') {
      // As another host would: the kernel learns of it only when it is told.
      const size = writeSync(this.#file(node), text, 0);
      ftruncateSync(this.#file(node), size);
      Object.assign(this.#node(node), { size });
    } else if (what === 'mode') this.#node(node).mode = REGULAR | Number.parseInt(text, 8);
    else if (what === 'unname') this.#setName(ROOT, name, 0);
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

  #node(id: number): Node {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Errno('ESTALE');
    return node;
  }

  #folderOf(id: number): Map<string, number> {
    const { children } = this.#node(id);
    if (children === undefined) throw new Errno('ENOTDIR');
    return children;
  }

  #named(parent: number, name: string): Node {
    const id = this.#folderOf(parent).get(name);
    if (id === undefined) throw new Errno('ENOENT');
    return this.#node(id);
  }

  #entry(node: Node): Entry {
    const ms = this.#options.validMs ?? 1000;
    return { attributes: node, entryMs: ms, attributesMs: ms };
  }

  #timed(node: Node): TimedAttributes {
    return { attributes: node, attributesMs: this.#options.validMs ?? 1000 };
  }

  #make(parent: number, name: string, mode: number, caller: Caller, change: (node: Node) => void): Entry {
    const done = this.#done(caller);
    if (done !== undefined) return this.#entry(this.#node(done));
    if (this.#folderOf(parent).has(name)) throw new Errno('EEXIST');
    const id = this.#last + 1;
    const node = newNode(id, mode, caller.uid, caller.gid, BigInt(Date.now()) * 1_000_000n);
    change(node);
    this.#last = id;
    this.#nodes.set(id, node);
    this.#keep(caller, [node], [[parent, name, id]], id);
    return this.#entry(node);
  }

  /** What the request was answered with in an earlier life. */
  #done(caller: Caller): number | undefined {
    return caller.resent ? this.#answers.get(caller.unique.toString()) : undefined;
  }

  #keep(
    caller: Caller,
    nodes: readonly Node[],
    names: readonly (readonly [number, string, number])[] = [],
    answer = 0,
  ): void {
    for (const [parent, name, id] of names) this.#setName(parent, name, id);
    this.#append({ unique: caller.unique.toString(), nodes: nodes.map(plain), names, answer });
  }

  #append(line: Line): void {
    writeSync(this.#log, `${JSON.stringify(line)}\n`);
  }

  #setName(parent: number, name: string, id: number): void {
    const children = this.#folderOf(parent);
    children.delete(name);
    if (id !== 0) children.set(name, id);
  }

  #replay(text: string): void {
    const line = JSON.parse(text) as Line;
    if (line.unique === 'mount') this.#answers.clear();
    else this.#answers.set(line.unique, line.answer ?? 0);
    for (const fields of line.nodes ?? []) {
      const id = Number(fields['node']);
      const node = this.#nodes.get(id) ?? newNode(id, Number(fields['mode']), 0, 0, 0n);
      const times = { atime: time(fields['atime']), mtime: time(fields['mtime']), ctime: time(fields['ctime']) };
      this.#nodes.set(id, Object.assign(node, fields, times));
      this.#last = Math.max(this.#last, id);
    }
    for (const [parent, name, id] of line.names ?? []) this.#setName(parent, name, id);
  }

  #file(id: number): number {
    let fd = this.#files.get(id);
    if (fd === undefined) {
      const path = join(this.#folder, 'bytes', String(id));
      fd = openSync(path, existsSync(path) ? 'r+' : 'w+');
      this.#files.set(id, fd);
    }
    return fd;
  }

  #read(id: number, offset: number, length: number): readonly Buffer[] {
    const { size } = this.#node(id);
    const wanted = Math.max(0, Math.min(length, size - offset));
    if (wanted === 0) return [];
    const buffer = Buffer.allocUnsafeSlow(wanted);
    const got = readSync(this.#file(id), buffer, 0, wanted, offset);
    if (got < wanted) buffer.fill(0, got);
    return [buffer];
  }

  readonly #listings = new Map<number, { readonly children: Map<string, number>; readonly list: [string, number][] }>();

  /** Children with numbers above the cookie's. Their list is made when a listing begins. */
  #behind(id: number, children: Map<string, number>, cookie: number): readonly [string, number][] {
    let listing = this.#listings.get(id);
    if (cookie === 0 || listing === undefined) {
      listing = { children, list: [...children].sort(([, a], [, b]) => a - b) };
      this.#listings.set(id, listing);
    }
    const { list } = listing;
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((list[middle]?.[1] ?? 0) + 2 > cookie) high = middle;
      else low = middle + 1;
    }
    return list.slice(low, low + 512).filter(([name]) => children.has(name));
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

const time = (value: unknown): bigint => BigInt(String(value));

const plain = ({ children: _, ...node }: Node): Record<string, unknown> => ({
  ...node,
  atime: String(node.atime),
  mtime: String(node.mtime),
  ctime: String(node.ctime),
});

const newNode = (id: number, mode: number, uid: number, gid: number, now: bigint): Node => ({
  node: id,
  mode,
  uid,
  gid,
  nlink: (mode & TYPE) === FOLDER ? 2 : 1,
  size: 0,
  rdev: 0,
  atime: now,
  mtime: now,
  ctime: now,
  target: '',
  xattrs: {},
  children: (mode & TYPE) === FOLDER ? new Map() : undefined,
});
