import type { StoreLimits } from '../object/store.ts';
import type { Piece } from './content-layer.ts';
import type { Span } from './ranges.ts';

const MIB = 1024 * 1024;

/** How large pieces are that a file is brought to the store in; bytes. */
export interface PartSizes {
  /** The usual part. */
  readonly part: number;
  /** Files up to here are put in one piece. */
  readonly putMost: number;
  /** Copies on the server's side: large enough to be few, small enough to be made at once. */
  readonly copyMost: number;
  /** So many parts have one size; then they double, so that 10,000 are enough for the largest object. */
  readonly same: number;
  readonly limits: StoreLimits;
}

/** What the store's limits make of the usual sizes. */
export const sizesFor = (
  limits: StoreLimits,
  wanted: { readonly part?: number; readonly putMost?: number; readonly copyMost?: number } = {},
): PartSizes => {
  const { part = 8 * MIB, putMost = 16 * MIB, copyMost = 256 * MIB } = wanted;
  return {
    part: Math.max(part, limits.partMin),
    putMost: Math.min(putMost, limits.putMax),
    copyMost: Math.min(copyMost, limits.partMax),
    same: Math.floor(limits.parts / 6),
    limits,
  };
};

/** The longest file that can be brought to a store, in bytes. */
export const longestFile = ({ parts, partMax, putMax }: StoreLimits): number => Math.max(putMax, parts * partMax);

export interface PlannedPart extends Span {
  /** From 1. */
  readonly number: number;
  /** `copy`: from the base, at the same place. */
  readonly how: 'upload' | 'copy';
}

/** Where the parts of a file are that is uploaded while it is written: known before its length is. */
export const partSpan = (number: number, sizes: PartSizes): Span => {
  const { part, same } = sizes;
  const group = Math.floor((number - 1) / same);
  const size = part * 2 ** group;
  const before = part * same * (2 ** group - 1);
  const start = before + (number - 1 - group * same) * size;
  return { start, end: start + size };
};

/** The number of the part that has this byte. */
export const partAt = (offset: number, sizes: PartSizes): number => {
  const { part, same } = sizes;
  let group = 0;
  while (offset >= part * same * (2 ** (group + 1) - 1)) group += 1;
  const before = part * same * (2 ** group - 1);
  return group * same + Math.floor((offset - before) / (part * 2 ** group)) + 1;
};

/** All of a file of that size, uploaded in those parts. */
export const wholeInParts = (size: number, sizes: PartSizes): PlannedPart[] => {
  const { part, limits } = sizes;
  const parts: PlannedPart[] = [];
  if (limits.equalParts) {
    const each = Math.max(part, Math.ceil(size / limits.parts));
    for (let start = 0; start < size; start += each) {
      parts.push({ number: parts.length + 1, start, end: Math.min(size, start + each), how: 'upload' });
    }
    return parts;
  }
  for (let number = 1; ; number += 1) {
    const { start, end } = partSpan(number, sizes);
    parts.push({ number, start, end: Math.min(end, size), how: 'upload' });
    if (end >= size) return parts;
  }
};

/**
 * A file of which long pieces are as they were: those are copied on the server's side, and what lies between is uploaded,
 * with as much around it as makes a part. Undefined: nothing is worth copying.
 */
export const partsWithCopies = (pieces: Iterable<Piece>, size: number, sizes: PartSizes): PlannedPart[] | undefined => {
  const { part, copyMost, limits } = sizes;
  const stretches = stretchesOf(pieces, limits.partMin);
  if (!stretches.some(({ copy }) => copy)) return undefined;
  const wide = widened(stretches, limits.partMin);
  const most = Math.min(limits.partMax, Math.max(part, Math.ceil(size / (limits.parts / 2))));
  const parts: PlannedPart[] = [];
  for (const { start, end, copy } of wide) {
    const longest = copy ? Math.max(most, copyMost) : most;
    const count = Math.max(1, Math.min(Math.ceil((end - start) / longest), Math.floor((end - start) / limits.partMin)));
    for (let i = 0; i < count; i += 1) {
      parts.push({
        number: parts.length + 1,
        start: start + Math.floor(((end - start) * i) / count),
        end: start + Math.floor(((end - start) * (i + 1)) / count),
        how: copy ? 'copy' : 'upload',
      });
    }
  }
  return parts.length <= limits.parts && parts.some(({ how }) => how === 'copy') ? parts : undefined;
};

interface Stretch {
  start: number;
  end: number;
  readonly copy: boolean;
}

/** What can be copied and what cannot, in turns. */
const stretchesOf = (pieces: Iterable<Piece>, least: number): Stretch[] => {
  const joined: Stretch[] = [];
  for (const { start, end, from } of pieces) {
    const last = joined.at(-1);
    const copy = from === 'base';
    if (last?.copy === copy) last.end = end;
    else joined.push({ start, end, copy });
  }
  const stretches: Stretch[] = [];
  for (const one of joined) {
    const copy = one.copy && one.end - one.start >= least;
    const last = stretches.at(-1);
    if (last !== undefined && last.copy === copy) last.end = one.end;
    else stretches.push({ start: one.start, end: one.end, copy });
  }
  return stretches;
};

/** Every part but the last one has at least `least` bytes: what is too short takes from the copy behind it, or before it. */
const widened = (stretches: readonly Stretch[], least: number): Stretch[] => {
  const done: Stretch[] = [];
  for (const [at, one] of stretches.entries()) {
    const last = done.at(-1);
    // An upload before has taken a piece of this one, or all of it.
    const start = Math.max(one.start, last?.end ?? 0);
    if (start >= one.end) continue;
    if (last !== undefined && !last.copy && (!one.copy || (one.end - start < least && at < stretches.length - 1))) {
      last.end = one.end;
      continue;
    }
    const next = stretches[at + 1];
    const end = one.copy || next === undefined ? one.end : Math.min(next.end, Math.max(one.end, start + least));
    done.push({ start, end, copy: one.copy });
  }
  return done;
};
