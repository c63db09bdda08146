import { type Answer, type Caller, Errno, type Opened } from '../fuse/file-system.ts';
import type { FileContent } from './content.ts';
import { type Handle, O_TRUNC } from './handles.ts';
import type { Parts } from './namespace-parts.ts';
import type { Node } from './nodes.ts';
import { S_IFMT, S_IFREG } from './object-metadata.ts';
import { dropOrphan } from './removing.ts';
import { attrRecord } from './saving.ts';

/** Of a file that is not larger, the look whether it has changed brings the bytes along. */
const SMALL_BYTES = 128 * 1024;
/** What copy_file_range does at a time. */
const COPY_BYTES = 2 ** 20;
/** fallocate(2) */
const KEEP_SIZE = 0x01;
const PUNCH_HOLE = 0x02;
const ZERO_RANGE = 0x10;
/** lseek(2) */
const SEEK_DATA = 3;
/** A flush of much data takes its time; a store that does not answer ends it earlier. */
const FLUSH_MS = 24 * 3_600_000;

/** Files that are open, and their bytes. */
export class Files {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  open(id: number, flags: number, caller: Caller): Answer<Opened> {
    const { space, lookups } = this.#parts;
    const node = space.node(id);
    if (node.isFolder) throw new Errno('EISDIR');
    const gate = space.gateOf(node);
    if (gate !== undefined) return gate.then(() => this.open(id, flags, caller));
    const writes = (flags & 3) !== 0;
    if (writes || (flags & O_TRUNC) !== 0) space.mayChange();
    const isKnown = node.unlinked || lookups.isOwn(node);
    const isRelied = space.semantics.consistency === 'relaxed' && node.facts !== undefined && space.isFresh(node);
    const before = caller.resent ? this.#parts.handles.openedBy(caller.unique) : undefined;
    if (before !== undefined) return this.reopened(node, before);
    if (isKnown || isRelied) return this.#opened(node, flags, caller);
    return this.#verifyAndOpen(node, flags, caller);
  }

  async #verifyAndOpen(node: Node, flags: number, caller: Caller): Promise<Opened> {
    const { space, lookups } = this.#parts;
    const isCut = (flags & O_TRUNC) !== 0;
    await lookups.verify(node, isCut ? 0 : SMALL_BYTES);
    if (space.gateOf(node) !== undefined) return await this.open(node.id, flags, caller);
    if (space.nodes.path(node) === undefined) throw new Errno('ESTALE', 'it was removed');
    return await this.#opened(node, flags, caller);
  }

  #opened(node: Node, flags: number, caller: Caller): Answer<Opened> {
    const { space } = this.#parts;
    const content = this.contentAtHand(node);
    const handle = this.handle(node, flags, caller);
    space.journal.note(handle.record());
    if ((flags & O_TRUNC) !== 0 && content.size > 0) {
      return this.#cut(node, content, handle);
    }
    return this.opened(node, handle, content);
  }

  async #cut(node: Node, content: FileContent, handle: Handle): Promise<Opened> {
    await content.truncate(0, this.#parts.space.lazy());
    this.touch(node);
    return this.opened(node, handle, content);
  }

  /** A request that comes again, after the engine's death: what is stored may have to be asked for. */
  reopened(node: Node, handle: Handle): Answer<Opened> {
    const content = this.content(node);
    if (!(content instanceof Promise)) return this.opened(node, handle, content);
    return content.then((one) => this.opened(node, handle, one));
  }

  /** How the kernel is to treat what was opened. */
  opened(node: Node, handle: Handle, content: FileContent): Opened {
    const { space } = this.#parts;
    const etag = content.dirty ? node.pages : node.facts?.etag;
    const keepCache = content.dirty || (etag !== undefined && node.pages === etag);
    node.pages = etag;
    // Where nobody can write, what is whole on this host's disk needs no engine.
    const passthrough = space.semantics.readonly && !handle.writes ? content.local() : undefined;
    return { handle: handle.id, keepCache, ...(passthrough !== undefined && { passthrough }) };
  }

  handle(node: Node, flags: number, caller: Caller): Handle {
    return this.#parts.handles.open(node, flags & ~O_TRUNC, caller.unique);
  }

  /** The content of a node whose facts are known. */
  contentAtHand(node: Node): FileContent {
    const live = node.lively;
    if (live.content !== undefined) return live.content;
    const { space, homes } = this.#parts;
    const orphan = node.unlinked ? space.journal.orphanOf(node.id) : undefined;
    const known = space.contents.find(node.id);
    if (known === undefined && node.unlinked && orphan === undefined) throw new Errno('ESTALE', 'it was removed');
    const base = orphan ?? (live.isNew || node.unlinked ? undefined : space.baseOf(node));
    if (known === undefined && base === undefined && !live.isNew) throw new Errno('ESTALE', 'nothing is known of it');
    live.content = space.contents.of(homes.of(node), base);
    return live.content;
  }

  /** As `contentAtHand`, also of a handle of an earlier life, whose object must be asked for first. */
  content(node: Node): FileContent | Promise<FileContent> {
    const known = node.live?.content;
    if (known !== undefined) return known;
    const { space, lookups } = this.#parts;
    const gate = space.gateOf(node);
    if (gate !== undefined) return gate.then(() => this.content(node));
    if (node.unlinked || lookups.isOwn(node) || node.facts !== undefined) return this.contentAtHand(node);
    if (space.contents.find(node.id) !== undefined) return this.contentAtHand(node);
    return lookups.refresh(node).then(() => this.contentAtHand(node));
  }

  read(id: number, offset: number, length: number): Answer<readonly Buffer[]> {
    const { space } = this.#parts;
    const content = this.content(space.node(id));
    if (!(content instanceof Promise)) return content.read(offset, length, space.lazy());
    return content.then((one) => one.read(offset, length, space.lazy()));
  }

  write(id: number, offset: number, data: Buffer): Answer<number> {
    const { space } = this.#parts;
    space.mayChange();
    const node = space.node(id);
    const content = this.content(node);
    if (content instanceof Promise) return content.then((one) => this.#write(node, one, offset, data));
    return this.#write(node, content, offset, data);
  }

  #write(node: Node, content: FileContent, offset: number, data: Buffer): Answer<number> {
    this.#mustBeThere(node);
    const { isChanged, times } = node;
    const changed = this.touch(node);
    let written: number | Promise<number>;
    try {
      written = content.write(offset, data, this.#parts.space.lazy());
    } catch (error) {
      if (!isChanged) this.#untouch(node, changed, times);
      throw error;
    }
    if (!(written instanceof Promise)) return written;
    return written.then(
      (bytes) => {
        // Until it was its turn others may have turned out to have removed the file.
        this.#mustBeThere(node);
        return bytes;
      },
      (error: unknown) => {
        if (!isChanged) this.#untouch(node, changed, times);
        throw error;
      },
    );
  }

  #mustBeThere(node: Node): void {
    if (this.#parts.space.isLost(node)) throw new Errno('ESTALE', 'another host has removed or renamed it');
  }

  /** Its bytes are being changed: that is its time, and what it has is remembered over the engine's death. Answers which change that is. */
  touch(node: Node): number {
    const { space } = this.#parts;
    const now = space.time();
    const wasChanged = node.isChanged;
    node.times = { ...node.times, mtime: now, ctime: now };
    const live = node.lively;
    live.changed += 1;
    if (!wasChanged) space.journal.append(attrRecord(node));
    return live.changed;
  }

  /** They were not, and nothing else has been changed since: who has nothing to store is asked for as others have it. */
  #untouch(node: Node, changed: number, times: Node['times']): void {
    if (node.lively.changed !== changed) return;
    node.times = times;
    this.#parts.saver.saved(node, changed);
  }

  /** Larger or smaller; of a file that is not open it is brought to the store at once. */
  async resize(node: Node, size: number): Promise<void> {
    const { space, lookups } = this.#parts;
    if (node.isFolder) throw new Errno('EISDIR');
    await space.passGates(node);
    if ((node.mode & S_IFMT) !== S_IFREG) throw new Errno('EINVAL');
    // Of one that was open in an earlier life it is known what it is.
    if (space.contentOf(node) === undefined && !node.unlinked) await lookups.verify(node, 0);
    const content = await this.content(node);
    if (content.size !== size) {
      this.#mustBeThere(node);
      const { isChanged, times } = node;
      const changed = this.touch(node);
      try {
        await content.truncate(size, space.lazy());
      } catch (error) {
        if (!isChanged) this.#untouch(node, changed, times);
        throw error;
      }
      this.#mustBeThere(node);
    }
    if (node.lively.opens > 0) return;
    try {
      if (content.dirty) await this.#bring(node, content);
    } finally {
      this.letGo(node);
    }
  }

  async flush(id: number, handleId: number, caller: Caller): Promise<void> {
    const { space, handles } = this.#parts;
    const node = space.node(id);
    if (handles.find(handleId)?.writes !== true) return;
    await this.#telling(node, caller, () => this.#flush(node));
  }

  /** A lost update is told once; when the engine dies before that is heard, the request comes again, and is told again. */
  async #telling(node: Node, caller: Caller, work: () => Promise<void>): Promise<void> {
    const { space } = this.#parts;
    if (caller.resent && space.journal.answerOf(caller.unique)?.stale === true) throw new Errno('ESTALE', 'as before');
    try {
      await work();
    } catch (error) {
      if (error instanceof Errno && error.code === 'ESTALE') {
        space.journal.did(caller.unique, { stale: true });
        space.contentOf(node)?.told();
      }
      throw error;
    }
  }

  async #flush(node: Node): Promise<void> {
    const { space } = this.#parts;
    const content = space.contentOf(node);
    if (content?.dirty === true && (!node.unlinked || node.isLost)) await this.#bring(node, content);
    else {
      await this.#lost(content);
      if (node.isChanged) await this.#saveAttributes(node);
    }
  }

  async fsync(id: number, caller: Caller): Promise<void> {
    const node = this.#parts.space.node(id);
    await this.#telling(node, caller, () => this.#fsync(node));
  }

  async #fsync(node: Node): Promise<void> {
    const { space } = this.#parts;
    const content = space.contentOf(node);
    if (content?.dirty !== true) await this.#lost(content);
    if (node.unlinked) return;
    if (content?.dirty === true) await this.#bring(node, content);
    await this.#saveAttributes(node);
    if (space.semantics.durability === 'local') await space.journal.sync();
  }

  /** ESTALE when what was written has lost against another host's change while it was brought to the store in the background. */
  async #lost(content: FileContent | undefined): Promise<void> {
    if (content?.dirty === false) await content.flush(this.#parts.space.context());
  }

  async #saveAttributes(node: Node): Promise<void> {
    if (this.#parts.space.semantics.durability === 'server') await this.#parts.saver.now(node);
  }

  /** As durable as the volume is to be. */
  async #bring(node: Node, content: FileContent): Promise<void> {
    const { space } = this.#parts;
    this.#mustBeThere(node);
    if (space.semantics.durability === 'server') {
      await content.flush(space.context(FLUSH_MS));
      if (node.isChanged && !content.dirty) await this.#parts.saver.now(node);
      return;
    }
    await Promise.all([content.sync(space.context()), space.journal.sync()]);
    content.flushLater();
  }

  release(handleId: number): void {
    const { space, handles } = this.#parts;
    const handle = handles.shut(handleId);
    if (handle === undefined) return;
    space.journal.note({ of: 'shut', h: handleId });
    if (handle.node.lively.opens === 0) this.letGo(handle.node);
  }

  /** Nobody has it open. */
  letGo(node: Node): void {
    const { space } = this.#parts;
    const live = node.lively;
    // One that was open in an earlier life may not have been asked for in this one.
    const content = space.contentOf(node);
    live.content = undefined;
    content?.release();
    if (node.unlinked) dropOrphan(space, node);
    space.drop(node);
  }

  async fallocate(id: number, mode: number, offset: number, length: number): Promise<void> {
    const { space } = this.#parts;
    space.mayChange();
    const node = space.node(id);
    const content = await this.content(node);
    const end = offset + length;
    if (mode === (PUNCH_HOLE | KEEP_SIZE)) {
      this.touch(node);
      await content.zero(offset, Math.max(0, Math.min(end, content.size) - offset), true, space.lazy());
    } else if ((mode & ~KEEP_SIZE) === ZERO_RANGE) {
      this.touch(node);
      await content.zero(offset, length, (mode & KEEP_SIZE) !== 0, space.lazy());
    } else if (mode === 0) {
      if (end <= content.size) return;
      this.touch(node);
      await content.truncate(end, space.lazy());
    } else if (mode !== KEEP_SIZE) throw new Errno('ENOTSUP');
  }

  async lseek(id: number, offset: number, whence: number): Promise<number> {
    const content = await this.content(this.#parts.space.node(id));
    if (offset < 0 || offset >= content.size) throw new Errno('ENXIO');
    const found = content.seek(offset, whence === SEEK_DATA);
    if (found !== undefined) return found;
    if (whence === SEEK_DATA) throw new Errno('ENXIO');
    return content.size;
  }

  async copyRange(
    from: { readonly node: number; readonly offset: number },
    to: { readonly node: number; readonly offset: number },
    length: number,
  ): Promise<number> {
    const { space } = this.#parts;
    space.mayChange();
    let done = 0;
    while (done < length) {
      const data = await this.read(from.node, from.offset + done, Math.min(COPY_BYTES, length - done));
      const bytes = Buffer.concat(data);
      if (bytes.length === 0) break;
      done += await this.write(to.node, to.offset + done, bytes);
    }
    return done;
  }
}
