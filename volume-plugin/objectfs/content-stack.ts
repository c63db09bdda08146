import { randomBytes } from 'node:crypto';
import type { Base } from './content.ts';
import { asErrno } from './content-errors.ts';
import { Layer, type Piece, piecesOf } from './content-layer.ts';
import { records } from './content-records.ts';
import type { World } from './content-world.ts';
import { StagingFile } from './staging.ts';
import type { StateRecord } from './state-log.ts';

const MIB = 1024 * 1024;

/** What was written to a file, in layers over its base: each change is on the disk and in the log before it counts. All methods throw Errno. */
export class Stack {
  /** The undermost first. */
  readonly layers: Layer[] = [];
  /** So many of the undermost are on their way to the store, and do not change. */
  frozen = 0;
  readonly #world: World;
  readonly #node: number;
  /** A layer has begun. */
  readonly #onNew: () => void;

  constructor(world: World, node: number, onNew: () => void) {
    this.#world = world;
    this.#node = node;
    this.#onNew = onNew;
  }

  get dirty(): boolean {
    return this.layers.length > 0;
  }

  /** Bytes of the staging files that count. */
  get waiting(): number {
    return this.layers.reduce((sum, layer) => sum + layer.written.bytes, 0);
  }

  size(base: Base | undefined): number {
    return this.layers.at(-1)?.size ?? base?.size ?? 0;
  }

  pieces(start: number, end: number): Generator<Piece> {
    return piecesOf(this.layers, start, end);
  }

  /** The layer that changes go to. */
  top(base: Base | undefined): Layer {
    const top = this.layers.at(-1);
    if (top !== undefined && this.layers.length > this.frozen) return top;
    const size = this.size(base);
    const id = `${this.#node.toString(36)}-${randomBytes(9).toString('base64url')}`;
    this.log(records.open(this.#node, id, base, size, size, top?.staging.length));
    top?.endTail(top.staging.length);
    const layer = new Layer(StagingFile.fresh(this.#world.room.folder, id, this.#world.room), size, size);
    this.layers.push(layer);
    this.#onNew();
    return layer;
  }

  write(base: Base | undefined, offset: number, data: Buffer): void {
    const end = offset + data.length;
    const layer = this.top(base);
    const { staging } = layer;
    let fresh = 0;
    for (const one of layer.written.pieces(offset, end)) if (!one.inside) fresh += one.end - one.start;
    this.#world.room.take(fresh);
    const length = staging.length;
    try {
      // Bytes that are appended to the staging file count by its length; all others by a record that follows them.
      if (end > length && (layer.tail === undefined || offset > length)) {
        const from = Math.max(offset, length);
        this.log(records.tail(this.#node, from, layer.tail === undefined ? undefined : length));
        layer.tail = from;
      }
      staging.write(offset, data);
      const told = Math.min(end, layer.tail ?? end);
      if (offset < told && !layer.written.covers(offset, told)) this.log(records.write(this.#node, offset, told));
    } catch (error) {
      this.#world.room.giveBack(fresh);
      staging.shorten(length);
      throw asErrno(error);
    }
    layer.room += fresh;
    layer.write(offset, end);
  }

  cut(base: Base | undefined, size: number): void {
    const layer = this.top(base);
    this.log(records.cut(this.#node, size, layer.staging.length));
    layer.endTail(layer.staging.length);
    layer.cut(size);
    layer.staging.shorten(size);
    this.#settleRoom(layer);
  }

  zero(base: Base | undefined, start: number, end: number): void {
    const layer = this.top(base);
    const size = Math.max(layer.size, end);
    this.log(records.zero(this.#node, start, end, size, layer.staging.length));
    layer.endTail(layer.staging.length);
    layer.zero(start, end, size);
    this.#settleRoom(layer);
  }

  /** The lowest layers are needed no more, and `base` is below what remains. `lost`: it has lost against what is there now. */
  shift(count: number, base: Base | undefined, lost: boolean): Layer[] {
    this.log(lost ? records.lost(this.#node, base, count) : records.stored(this.#node, base, count));
    const dropped = this.layers.splice(0, count);
    this.frozen = 0;
    for (const layer of dropped) this.#world.room.giveBack(layer.room);
    return dropped;
  }

  /** Brings the bytes of upper layers into the lowest one. After a crash in the middle of it the upper ones still cover what was changed. */
  async join(): Promise<void> {
    for (let upper = this.layers.at(-1); upper !== undefined && this.layers.length > 1; upper = this.layers.at(-1)) {
      const lower = this.layers.at(-2);
      if (lower === undefined) return;
      for (const { start, end } of upper.written) {
        for (let at = start; at < end; at += MIB) {
          const into = Buffer.allocUnsafe(Math.min(MIB, end - at));
          await upper.staging.readLater(at, into);
          lower.staging.write(at, into);
        }
      }
      this.log(records.merge(this.#node, upper.staging.length));
      upper.endTail(upper.staging.length);
      lower.merge(upper);
      this.layers.pop();
      this.frozen = 0;
      this.#settleRoom(lower);
      this.#world.room.giveBack(upper.room);
      upper.staging.drop();
    }
  }

  /** From where on there is data, or a hole; undefined: none up to the end. */
  seek(base: Base | undefined, offset: number, data: boolean): number | undefined {
    const size = this.size(base);
    if (offset >= size) return undefined;
    for (const { start, from } of this.pieces(offset, size)) if ((from === 'zeros') !== data) return start;
    return data ? undefined : size;
  }

  async sync(): Promise<void> {
    await Promise.all(this.layers.map((layer) => layer.staging.sync()));
  }

  /** At the end of the engine's life: files stay as they are. */
  leave(): void {
    for (const layer of this.layers) layer.staging.leave();
  }

  log(record: StateRecord): void {
    try {
      this.#world.log.append(record);
    } catch (error) {
      throw asErrno(error);
    }
  }

  #settleRoom(layer: Layer): void {
    const bytes = layer.written.bytes;
    if (bytes < layer.room) this.#world.room.giveBack(layer.room - bytes);
    else this.#world.room.found(bytes - layer.room);
    layer.room = bytes;
  }
}
