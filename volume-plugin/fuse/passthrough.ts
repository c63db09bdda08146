import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import { deviceControl, SystemCallError } from '../../shared/kernel/syscalls.ts';
import type { Logger } from '../../shared/log.ts';
import { BACKING_CLOSE, BACKING_OPEN } from './wire.ts';

const FILE = 'backing.log';
/** Lines after which the record is written anew. */
const LONGEST = 10_000;

/** A file that the kernel reads by itself. */
interface Backing {
  readonly id: number;
  readonly handles: Set<number>;
}

/**
 * Which nodes the kernel reads and writes by itself, from local files. The kernel wants the same local file for all that have
 * the node open, and keeps its number until it is told otherwise: so the numbers are kept for the engine's next life, in lines of
 * `node number handle` for each open file and `handle` for each closed one.
 */
export class Passthrough {
  readonly #fd: number;
  readonly #path: string;
  readonly #log: Logger;
  readonly #nodes = new Map<number, Backing>();
  readonly #nodeOf = new Map<number, number>();
  #record: number | undefined;
  #lines = 0;

  /** `fd`: /dev/fuse. `folder`: the engine's. */
  constructor(fd: number, folder: string, log: Logger) {
    this.#fd = fd;
    this.#path = join(folder, FILE);
    this.#log = log;
  }

  /** Takes up what an earlier life has left. */
  start(): void {
    for (const line of this.#lastRecord().split('\n')) {
      const numbers = line.split(' ').map(Number);
      const [first = 0, id = 0, handle = 0] = numbers;
      if (numbers.length === 3) this.#add(first, id, handle);
      else if (line !== '') this.#remove(first);
    }
    this.#rewrite();
  }

  /** The number under which the kernel reads the node by itself; undefined: it does not. */
  of(node: number): number | undefined {
    return this.#nodes.get(node)?.id;
  }

  /** Lets the kernel use the file for an open node: its number, or 0 where the kernel cannot. */
  open(node: number, handle: number, file: number): number {
    const known = this.of(node);
    const id = known ?? this.#register(file);
    if (id === 0) return 0;
    this.#add(node, id, handle);
    this.#say(`${node} ${id} ${handle}\n`);
    return id;
  }

  /** The handle was closed. */
  close(handle: number): void {
    if (!this.#nodeOf.has(handle)) return;
    this.#say(`${handle}\n`);
    const id = this.#remove(handle);
    if (id !== undefined) this.#unregister(id);
  }

  stop(): void {
    if (this.#record !== undefined) closeSync(this.#record);
    this.#record = undefined;
  }

  #register(file: number): number {
    const map = Buffer.alloc(16);
    map.writeInt32LE(file, 0);
    try {
      return deviceControl(this.#fd, BACKING_OPEN, map);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#log.info('the kernel does not read a local file by itself', { reason: error.message });
      return 0;
    }
  }

  #unregister(id: number): void {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(id, 0);
    try {
      deviceControl(this.#fd, BACKING_CLOSE, number);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#log.warn('a local file could not be taken back from the kernel', { reason: error.message });
    }
  }

  #add(node: number, id: number, handle: number): void {
    const backing = this.#nodes.get(node) ?? { id, handles: new Set() };
    backing.handles.add(handle);
    this.#nodes.set(node, backing);
    this.#nodeOf.set(handle, node);
  }

  /** The number, when nobody has the node open any more. */
  #remove(handle: number): number | undefined {
    const node = this.#nodeOf.get(handle);
    this.#nodeOf.delete(handle);
    if (node === undefined) return undefined;
    const backing = this.#nodes.get(node);
    backing?.handles.delete(handle);
    if (backing === undefined || backing.handles.size > 0) return undefined;
    this.#nodes.delete(node);
    return backing.id;
  }

  #say(line: string): void {
    if (this.#record === undefined) this.#rewrite();
    if (this.#record !== undefined) writeSync(this.#record, line);
    this.#lines += 1;
    if (this.#lines > LONGEST) this.#rewrite();
  }

  #rewrite(): void {
    const lines = [...this.#nodes].flatMap(([node, { id, handles }]) =>
      [...handles].map((handle) => `${node} ${id} ${handle}\n`),
    );
    writeFileSync(`${this.#path}.new`, lines.join(''), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
    this.stop();
    this.#record = openSync(this.#path, 'a');
    this.#lines = 0;
  }

  #lastRecord(): string {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return '';
      throw error;
    }
  }
}
