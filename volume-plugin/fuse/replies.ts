import { writevSync } from 'node:fs';
import { codeOf } from '../../shared/error-code.ts';
import { writeFrom } from '../../shared/kernel/syscalls.ts';
import type { Logger } from '../../shared/log.ts';
import type { Entry, FileSystemStat, FolderEntry, TimedAttributes } from './file-system.ts';
import { ReplyMemory } from './reply-memory.ts';
import type { Request } from './request.ts';
import { NAME_MAX, OUT_HEADER } from './wire.ts';

/** Entries of a folder that are answered at once take no more; getdents64 asks for 32 KiB. */
const LARGEST = 128 * 1024;
/** Up to that size bytes are copied and written at once: a list of buffers costs more. */
const COPIED = 16 * 1024;

const ENTRY = 128;
const ENOENT = 2;
const ENODEV = 19;
const DIRENT = 24;
const DATA = OUT_HEADER;

/** Answers to requests, each one written by one system call, at once: the kernel never lets writers wait. */
export class Replies {
  #fd: number;
  readonly #log: Logger;
  readonly #out = new ReplyMemory(OUT_HEADER + LARGEST);

  constructor(fd: number, log: Logger) {
    this.#fd = fd;
    this.#log = log;
  }

  /** Answers go to where their requests come from. */
  use(fd: number): void {
    this.#fd = fd;
  }

  /** `errno` is positive; 0: it was done, and there is nothing else to say. */
  failure(to: Request, errno: number): void {
    this.#send(to, 0, -errno);
  }

  entry(to: Request, { attributes, entryMs, attributesMs }: Entry): void {
    this.#out.entry(DATA, attributes, entryMs, attributesMs);
    this.#send(to, ENTRY);
  }

  attributes(to: Request, { attributes, attributesMs }: TimedAttributes): void {
    this.#out.validity(DATA, DATA + 8, attributesMs);
    this.#out.u32(DATA + 12, 0);
    this.#out.attributes(DATA + 16, attributes);
    this.#send(to, 104);
  }

  /** `backing` is the kernel's number of a file that it reads itself; 0: none. */
  opened(to: Request, handle: number, flags: number, backing: number): void {
    this.#opened(DATA, handle, flags, backing);
    this.#send(to, 16);
  }

  created(to: Request, { attributes, entryMs, attributesMs }: Entry, handle: number, flags: number): void {
    this.#out.entry(DATA, attributes, entryMs, attributesMs);
    this.#opened(DATA + ENTRY, handle, flags, 0);
    this.#send(to, ENTRY + 16);
  }

  data(to: Request, parts: readonly Buffer[]): void {
    let size = 0;
    for (const part of parts) size += part.length;
    if (size <= COPIED) {
      let at = DATA;
      for (const part of parts) at += part.copy(this.#out.bytes, at);
      this.#send(to, size);
      return;
    }
    this.#head(to, OUT_HEADER + size, 0);
    try {
      writevSync(this.#fd, [this.#out.bytes.subarray(0, OUT_HEADER), ...parts]);
    } catch (error) {
      this.#failed(to, codeOf(error) ?? String(error));
    }
  }

  /** Bytes written or copied, or the length of a value that was asked for without its bytes. */
  size(to: Request, size: number): void {
    this.#out.u32(DATA, size);
    this.#out.u32(DATA + 4, 0);
    this.#send(to, 8);
  }

  /** A place in a file, or a count of 64 bits. */
  wide(to: Request, value: number): void {
    this.#out.u64(DATA, value);
    this.#send(to, 8);
  }

  statfs(to: Request, stat: FileSystemStat): void {
    const out = this.#out;
    out.bytes.fill(0, DATA, DATA + 80);
    out.u64(DATA, stat.blocks);
    out.u64(DATA + 8, stat.free);
    out.u64(DATA + 16, stat.free);
    out.u64(DATA + 24, stat.files);
    out.u64(DATA + 32, stat.filesFree);
    out.u32(DATA + 40, stat.blockSize);
    out.u32(DATA + 44, Math.min(stat.nameMax, NAME_MAX));
    out.u32(DATA + 48, stat.blockSize);
    this.#send(to, 80);
  }

  /** As many entries as fit into `size` bytes. Answers how many. */
  folder(to: Request, entries: readonly FolderEntry[], size: number, plus: boolean): number {
    const out = this.#out;
    const end = DATA + Math.min(size, LARGEST);
    const head = plus ? ENTRY : 0;
    let at = DATA;
    let count = 0;
    for (const entry of entries) {
      const nameAt = at + head + DIRENT;
      // A name that does not fit is cut off, and begins the next answer.
      if (nameAt + entry.name.length > end) break;
      const length = out.bytes.write(entry.name, nameAt);
      const next = (nameAt + length + 7) & ~7;
      if (next > end || (length < entry.name.length * 3 && isCut(entry.name, length))) break;
      out.bytes.fill(0, nameAt + length, next);
      if (plus) this.#plus(at, entry);
      out.u64(at + head, entry.entry?.attributes.node ?? entry.cookie);
      out.u64(at + head + 8, entry.cookie);
      out.u32(at + head + 16, length);
      out.u32(at + head + 20, entry.type >> 12);
      at = next;
      count += 1;
    }
    this.#send(to, at - DATA);
    return count;
  }

  #plus(at: number, { entry }: FolderEntry): void {
    if (entry === undefined) this.#out.bytes.fill(0, at, at + ENTRY);
    else this.#out.entry(at, entry.attributes, entry.entryMs, entry.attributesMs);
  }

  #opened(at: number, handle: number, flags: number, backing: number): void {
    this.#out.u64(at, handle);
    this.#out.u32(at + 8, flags);
    this.#out.u32(at + 12, backing);
  }

  #head(to: Request, length: number, error: number): void {
    this.#out.u32(0, length);
    this.#out.u32(4, error);
    this.#out.u32(8, to.low);
    this.#out.u32(12, to.high);
  }

  #send(to: Request, size: number, error = 0): void {
    this.#head(to, OUT_HEADER + size, error);
    const written = writeFrom(this.#fd, this.#out.bytes, OUT_HEADER + size);
    if (written < 0) this.#failed(to, -written);
  }

  /** ENOENT: whoever asked does not wait any more. ENODEV: it was unmounted. */
  #failed(to: Request, reason: string | number): void {
    if ([ENOENT, ENODEV, 'ENOENT', 'ENODEV'].includes(reason)) return;
    this.#log.warn('the kernel has not taken an answer', { operation: to.opcode, node: to.node, reason });
  }
}

/** Was a name longer than the bytes of it that had room? */
const isCut = (name: string, length: number): boolean => Buffer.byteLength(name) > length;
