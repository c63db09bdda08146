import type { Base } from './content.ts';
import { Ranges, type Span } from './ranges.ts';
import type { StagingFile } from './staging.ts';

/**
 * What was done to a file on top of what is below: bytes written, holes, where it was cut, how long it is. Plain state, which
 * the records of the state log make again.
 */
export class LayerState {
  readonly written = new Ranges();
  /** Zeros over what is below, as far as nothing was written over them. */
  readonly holes = new Ranges();
  /** Bytes of what is below that still show. */
  limit: number;
  size: number;
  /**
   * From here to the end of the staging file everything counts as written: bytes that are appended need no record.
   * Undefined: there is no such end.
   */
  tail: number | undefined;

  constructor(size: number, limit: number) {
    this.size = size;
    this.limit = limit;
  }

  write(start: number, end: number): void {
    this.written.add(start, end);
    this.size = Math.max(this.size, end);
  }

  cut(size: number): void {
    this.written.remove(size, Number.POSITIVE_INFINITY);
    this.limit = Math.min(this.limit, size);
    this.size = size;
  }

  zero(start: number, end: number, size: number): void {
    this.written.remove(start, end);
    this.holes.add(start, Math.min(end, this.limit));
    this.size = size;
  }

  /** The staging file ends at `end`: what the tail has is known from now on. */
  endTail(end: number): void {
    if (this.tail !== undefined && this.tail < end) this.write(this.tail, end);
    this.tail = undefined;
  }

  /** Takes over what the layer above has; its bytes are in this one's staging file then. */
  merge(above: LayerState): void {
    const { limit } = above;
    this.written.remove(limit, Number.POSITIVE_INFINITY);
    this.limit = Math.min(this.limit, limit);
    for (const { start, end } of above.holes) {
      this.written.remove(start, end);
      this.holes.add(start, Math.min(end, this.limit));
    }
    for (const { start, end } of above.written) this.written.add(start, end);
    this.size = above.size;
  }
}

/** With the file that has its bytes. */
export class Layer extends LayerState {
  readonly staging: StagingFile;
  /** Bytes of the staging room that it has. */
  room = 0;

  constructor(staging: StagingFile, size: number, limit: number) {
    super(size, limit);
    this.staging = staging;
  }

  get id(): string {
    return this.staging.id;
  }
}

/** Where bytes of a file come from. */
export interface Piece extends Span {
  readonly from: Layer | 'base' | 'zeros';
}

/** The bytes from `start` to `end`, which is within the size, in their order. `layers`: the undermost first. */
export function* piecesOf(
  layers: readonly Layer[],
  start: number,
  end: number,
  top: number = layers.length - 1,
): Generator<Piece> {
  const layer = layers[top];
  if (layer === undefined) {
    if (start < end) yield { start, end, from: 'base' };
    return;
  }
  for (const one of layer.written.pieces(start, end)) {
    if (one.inside) {
      yield { start: one.start, end: one.end, from: layer };
      continue;
    }
    const shown = Math.max(one.start, Math.min(one.end, layer.limit));
    for (const below of layer.holes.pieces(one.start, shown)) {
      if (below.inside) yield { start: below.start, end: below.end, from: 'zeros' };
      else yield* piecesOf(layers, below.start, below.end, top - 1);
    }
    if (shown < one.end) yield { start: shown, end: one.end, from: 'zeros' };
  }
}

/** What a file is at one moment, which later changes leave alone. */
export interface Snapshot {
  readonly layers: readonly Layer[];
  readonly base: Base | undefined;
  readonly size: number;
}
