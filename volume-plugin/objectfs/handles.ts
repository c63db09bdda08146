import { Errno } from '../fuse/file-system.ts';
import type { Listing } from './listing.ts';
import type { Node } from './nodes.ts';
import type { StateRecord } from './state-log.ts';

const O_ACCMODE = 0o3;
export const O_WRONLY = 0o1;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;

/** An open file or folder. */
export class Handle {
  readonly id: number;
  readonly node: Node;
  readonly flags: number;
  /** Of a folder. */
  listing: Listing | undefined;
  /** Names of a folder that are listed first: those that its listing in the store may have or not. */
  locals: readonly string[] | undefined;
  wasRead = false;
  /** The request by which it was opened. */
  readonly unique: string;

  constructor(id: number, node: Node, flags: number, unique: string) {
    this.id = id;
    this.node = node;
    this.flags = flags;
    this.unique = unique;
  }

  get writes(): boolean {
    return (this.flags & O_ACCMODE) !== 0;
  }

  record(): StateRecord {
    return {
      ...{ of: 'open', h: this.id, id: this.node.id, flags: this.flags, u: this.unique },
      ...(this.locals !== undefined && this.locals.length > 0 && { locals: this.locals }),
    };
  }
}

/** What is open: numbers that the kernel has, and that outlive the engine. */
export class Handles {
  readonly #byId = new Map<number, Handle>();
  #next = 1;

  get size(): number {
    return this.#byId.size;
  }

  get next(): number {
    return this.#next;
  }

  skipTo(id: number): void {
    this.#next = Math.max(this.#next, id);
  }

  /** `id` is given for one of an earlier life. */
  open(node: Node, flags: number, unique: bigint | string, id: number = this.#next): Handle {
    this.skipTo(id + 1);
    const handle = new Handle(id, node, flags, String(unique));
    this.#byId.set(id, handle);
    node.lively.opens += 1;
    return handle;
  }

  find(id: number | undefined): Handle | undefined {
    return id === undefined ? undefined : this.#byId.get(id);
  }

  /** Of a request that comes again. */
  openedBy(unique: bigint): Handle | undefined {
    const text = String(unique);
    for (const handle of this.#byId.values()) if (handle.unique === text) return handle;
    return undefined;
  }

  get(id: number): Handle {
    const handle = this.#byId.get(id);
    if (handle === undefined) throw new Errno('EBADF', `handle ${id} is not open`);
    return handle;
  }

  /** Answers undefined for one that is not open. */
  shut(id: number): Handle | undefined {
    const handle = this.#byId.get(id);
    if (handle === undefined) return undefined;
    this.#byId.delete(id);
    handle.node.lively.opens -= 1;
    return handle;
  }

  values(): Iterable<Handle> {
    return this.#byId.values();
  }
}
