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
import { type Attributes, type Caller, Errno } from '../../volume-plugin/fuse/file-system.ts';

export const TYPE = 0o170000;
export const FOLDER = 0o040000;
export const REGULAR = 0o100000;
export const ROOT = 1;

type Changeable = { -readonly [K in keyof Attributes]: Attributes[K] };

export interface MemoryNode extends Changeable {
  target: string;
  /** Base64. */
  xattrs: Record<string, string>;
  children: Map<string, number> | undefined;
}

/** A line of the log: what a change has left, and the number of the request that made it. */
interface Line {
  readonly unique: string;
  readonly nodes?: readonly Record<string, unknown>[];
  /** Parent, name and node; 0: the name is gone. */
  readonly names?: readonly (readonly [number, string, number])[];
  readonly answer?: number;
}

/** Names, attributes and bytes of a file system in memory, and what of it survives the death of its process: a log, and a file for each node's bytes. */
export class MemoryNodes {
  readonly #folder: string;
  readonly #nodes = new Map<number, MemoryNode>();
  /** What a request of an earlier life was answered with, by its number. */
  readonly #answers = new Map<string, number>();
  readonly #files = new Map<number, number>();
  readonly #listings = new Map<number, { readonly children: Map<string, number>; readonly list: [string, number][] }>();
  #log = -1;
  #last = ROOT;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Takes up what an earlier life has left. */
  start(): void {
    mkdirSync(join(this.#folder, 'bytes'), { recursive: true });
    const path = join(this.#folder, 'memory.log');
    this.#nodes.set(ROOT, newNode(ROOT, FOLDER | 0o755, 0, 0));
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

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
    if (this.#log >= 0) closeSync(this.#log);
    this.#log = -1;
  }

  /** A new node under a new name; the same one when the request is sent again. */
  make(parent: number, name: string, mode: number, caller: Caller, change: (node: MemoryNode) => void): MemoryNode {
    const done = this.done(caller);
    if (done !== undefined) return this.node(done);
    if (this.folderOf(parent).has(name)) throw new Errno('EEXIST');
    const id = this.#last + 1;
    const node = newNode(id, mode, caller.uid, caller.gid);
    change(node);
    this.#last = id;
    this.#nodes.set(id, node);
    this.keep(caller, [node], [[parent, name, id]], id);
    return node;
  }

  truncate(id: number, size: number): void {
    ftruncateSync(this.file(id), size);
    Object.assign(this.node(id), { size, mtime: now() });
  }

  /** It can be repeated: nothing is remembered of who asked. */
  write(id: number, offset: number, data: Buffer): number {
    const node = this.node(id);
    writeSync(this.file(id), data, 0, data.length, offset);
    node.size = Math.max(node.size, offset + data.length);
    node.mtime = now();
    this.append({ unique: '0', nodes: [plain(node)] });
    return data.length;
  }

  node(id: number): MemoryNode {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new Errno('ESTALE');
    return node;
  }

  folderOf(id: number): Map<string, number> {
    const { children } = this.node(id);
    if (children === undefined) throw new Errno('ENOTDIR');
    return children;
  }

  named(parent: number, name: string): MemoryNode {
    const id = this.folderOf(parent).get(name);
    if (id === undefined) throw new Errno('ENOENT');
    return this.node(id);
  }

  /** What the request was answered with in an earlier life. */
  done(caller: Caller): number | undefined {
    return caller.resent ? this.#answers.get(caller.unique.toString()) : undefined;
  }

  keep(
    caller: Caller,
    nodes: readonly MemoryNode[],
    names: readonly (readonly [number, string, number])[] = [],
    answer = 0,
  ): void {
    for (const [parent, name, id] of names) this.setName(parent, name, id);
    this.append({ unique: caller.unique.toString(), nodes: nodes.map(plain), names, answer });
  }

  /** A line of the log, by one write. */
  append(line: Line): void {
    writeSync(this.#log, `${JSON.stringify(line)}\n`);
  }

  setName(parent: number, name: string, id: number): void {
    const children = this.folderOf(parent);
    children.delete(name);
    if (id !== 0) children.set(name, id);
  }

  #replay(text: string): void {
    const line = JSON.parse(text) as Line;
    if (line.unique === 'mount') this.#answers.clear();
    else this.#answers.set(line.unique, line.answer ?? 0);
    for (const fields of line.nodes ?? []) {
      const id = Number(fields['node']);
      const node = this.#nodes.get(id) ?? newNode(id, Number(fields['mode']), 0, 0);
      const times = { atime: time(fields['atime']), mtime: time(fields['mtime']), ctime: time(fields['ctime']) };
      this.#nodes.set(id, Object.assign(node, fields, times));
      this.#last = Math.max(this.#last, id);
    }
    for (const [parent, name, id] of line.names ?? []) this.setName(parent, name, id);
  }

  /** The descriptor of a node's bytes. */
  file(id: number): number {
    let fd = this.#files.get(id);
    if (fd === undefined) {
      const path = join(this.#folder, 'bytes', String(id));
      fd = openSync(path, existsSync(path) ? 'r+' : 'w+');
      this.#files.set(id, fd);
    }
    return fd;
  }

  read(id: number, offset: number, length: number): readonly Buffer[] {
    const { size } = this.node(id);
    const wanted = Math.max(0, Math.min(length, size - offset));
    if (wanted === 0) return [];
    const buffer = Buffer.allocUnsafeSlow(wanted);
    const got = readSync(this.file(id), buffer, 0, wanted, offset);
    if (got < wanted) buffer.fill(0, got);
    return [buffer];
  }

  /** Children with numbers above the cookie's. Their list is made when a listing begins. */
  behind(id: number, children: Map<string, number>, cookie: number): readonly [string, number][] {
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
}

/** Puts `count` empty files, `entry-1` and so on, into the root of a file system that is not there yet. */
export const seed = (folder: string, count: number): void => {
  const ids = Array.from({ length: count }, (_, at) => ROOT + 1 + at);
  const nodes = ids.map((id) => plain(newNode(id, REGULAR | 0o644, 0, 0)));
  const names = ids.map((id) => [ROOT, `entry-${id - ROOT}`, id] as const);
  writeFileSync(join(folder, 'memory.log'), `${JSON.stringify({ unique: '0', nodes, names } satisfies Line)}\n`);
};

/** Nanoseconds. */
export const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

const time = (value: unknown): bigint => BigInt(String(value));

const plain = ({ children: _, ...node }: MemoryNode): Record<string, unknown> => ({
  ...node,
  atime: String(node.atime),
  mtime: String(node.mtime),
  ctime: String(node.ctime),
});

const newNode = (id: number, mode: number, uid: number, gid: number): MemoryNode => ({
  node: id,
  mode,
  uid,
  gid,
  nlink: (mode & TYPE) === FOLDER ? 2 : 1,
  size: 0,
  rdev: 0,
  atime: now(),
  mtime: now(),
  ctime: now(),
  target: '',
  xattrs: {},
  children: (mode & TYPE) === FOLDER ? new Map() : undefined,
});
