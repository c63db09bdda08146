import { byteOrder } from '../object/byte-order.ts';
import { Confirmations } from './confirmations.ts';
import type { FolderReading } from './folder-reading.ts';
import type { Listed, ListedRange, Listing } from './listing.ts';
import type { Listings } from './listings.ts';
import type { Lookups } from './lookups.ts';
import { type Facts, GUESSED, type Node } from './nodes.ts';
import { isSameObject, type Noted, type Notes } from './notes.ts';
import type { Space } from './space.ts';

/**
 * So many lookups in a folder within so many milliseconds, without those in which the store was waited for: from then on the
 * folder is listed instead of asking for each name.
 */
const STORM_LOOKUPS = 4;
const STORM_MS = 200;
/** So many names in a row that were looked up in vain and made at once: whoever does that is making files. */
const ROW_IN_FOLDER = 3;
const ROW_OF_THREAD = 4;
/** A row ends when nothing was made for so long. */
const ROW_MS = 2_000;
const THREADS = 1_000;
/** A small object may be a symbolic link: no guess is made of it. */
const LINK_BYTES = 1_024;

interface Row {
  count: number;
  /** Looked up in vain last, and not made yet. */
  missed: string | undefined;
  at: number;
}

interface FolderLookups extends Row {
  lookups: number;
  since: number;
  /** Of a long folder: what is behind a name that was looked up, and who fetches that. */
  range: ListedRange | undefined;
  fetching: Promise<void> | undefined;
}

export interface StormParts {
  readonly space: Space;
  readonly listings: Listings;
  readonly lookups: Lookups;
  readonly notes: Notes;
  readonly reading: FolderReading;
}

/**
 * Answers lookups from a listing of the folder that is not older than what may be relied on, when there are many: names that are
 * there, and, while files are being made one after another, names that are not. The kernel looks up each name that is made, with
 * the folder locked: a request to the store for each would let files be made one in a request's time.
 */
export class Storms {
  readonly #parts: StormParts;
  readonly #confirmations: Confirmations;
  readonly #folders = new WeakMap<Node, FolderLookups>();
  readonly #threads = new Map<number, Row>();
  answered = 0;

  constructor(parts: StormParts) {
    this.#parts = parts;
    this.#confirmations = new Confirmations(parts.space, parts.lookups);
  }

  /** A node; null: nothing is there; undefined: it must be asked for. */
  answer(folder: Node, path: string, name: string, thread: number): Node | null | undefined {
    const { space } = this.#parts;
    if (space.reliedMs === 0) return undefined;
    const now = space.ms();
    const counts = this.#countsOf(folder, now);
    if (now - counts.since > STORM_MS) {
      // One that goes on is not counted anew.
      const goesOn = counts.lookups >= STORM_LOOKUPS && now - counts.since < 2 * STORM_MS;
      counts.since = now;
      counts.lookups = goesOn ? STORM_LOOKUPS : 0;
    }
    counts.lookups += 1;
    const isMaking = this.#isMaking(counts, thread, now);
    if (counts.lookups < STORM_LOOKUPS && !isMaking) return undefined;
    if (this.#parts.listings.isLong(path)) return this.#fromRange(counts, folder, path, name, now);
    const listing = this.#listing(path, now);
    const answer = listing === undefined ? undefined : this.#fromListing(listing, folder, name, isMaking);
    if (answer !== undefined) this.answered += 1;
    return answer;
  }

  #isMaking(counts: FolderLookups, thread: number, now: number): boolean {
    if (counts.count >= ROW_IN_FOLDER && now - counts.at < ROW_MS) return true;
    const row = this.#threads.get(thread);
    return row !== undefined && row.count >= ROW_OF_THREAD && now - row.at < ROW_MS;
  }

  /** One that is whole and young; it is renewed before it is too old. */
  #listing(path: string, now: number): Listing | undefined {
    const { listings, space, notes } = this.#parts;
    const listing = listings.fresh(path);
    const isAtHand = listing?.isWhole === true && listing.findNote !== undefined;
    if (!isAtHand || now - listing.begun > space.reliedMs / 2) listings.renew(path, (one) => notes.read(one));
    return isAtHand ? listing : undefined;
  }

  #fromListing(listing: Listing, folder: Node, name: string, isMaking: boolean): Node | null | undefined {
    const change = listing.changes.get(name);
    // What was made here is known as a node, or another host has it by now.
    if (change === true) return undefined;
    const listed = change === false ? undefined : listing.find(name);
    if (listed === undefined) return isMaking ? null : undefined;
    const node = this.#safely(folder, listed, listing.findNote?.(name, listed.facts), listing.begun);
    if (node === undefined) {
      this.#confirmations.begin(folder, name, listing.inOrder, (one) => {
        if (listing.changes.has(one.name)) return false;
        return this.#isUnsure(folder, one, listing.findNote?.(one.name, one.facts));
      });
    }
    return node;
  }

  /** In the order of names a folder of any length is looked up with a request for each thousand. */
  #fromRange(counts: FolderLookups, folder: Node, path: string, name: string, now: number): Node | undefined {
    const { listings, space } = this.#parts;
    const { range } = counts;
    const isIn =
      range !== undefined &&
      now - range.begun < space.reliedMs &&
      range.begun > listings.changedAt(path) &&
      byteOrder(name, range.from) > 0 &&
      (range.to === undefined || byteOrder(name, range.to) <= 0);
    const listed = isIn ? range.names.get(name) : undefined;
    const node = listed === undefined || !isIn ? undefined : this.#safely(folder, listed, undefined, range.begun);
    if (node !== undefined) this.answered += 1;
    else if (listed !== undefined) {
      this.#confirmations.begin(folder, name, range?.inOrder ?? [], (one) => this.#isUnsure(folder, one, undefined));
    } else if (!isIn) {
      counts.fetching ??= listings
        .after(path, name)
        .then(
          (found) => {
            counts.range = found;
          },
          (error: unknown) => space.logger.debug('a folder could not be listed in advance', { path, error }),
        )
        .finally(() => {
          counts.fetching = undefined;
        });
    }
    return node;
  }

  /** Is it to be asked for, because a listing does not tell enough of it? */
  #isUnsure(folder: Node, { name, facts }: Listed, noted: Noted | undefined): boolean {
    const { space, lookups } = this.#parts;
    const child = space.nodes.child(folder, name);
    if (child !== undefined) {
      if (lookups.isOwn(child)) return false;
      if (child.known !== GUESSED && child.isFolder === (facts === undefined)) {
        return facts !== undefined && (child.facts === undefined || !isSameObject(child.facts, facts));
      }
    }
    return facts === undefined || (noted === undefined && !this.#isSafe(folder, facts));
  }

  /** May be guessed what an object is of which nothing is known but what a listing tells? */
  #isSafe(folder: Node, facts: Facts | undefined): boolean {
    return facts !== undefined && facts.size > LINK_BYTES && !this.#parts.space.surprising.has(folder);
  }

  #safely(folder: Node, listed: Listed, noted: Noted | undefined, begun: number): Node | undefined {
    const { space, reading } = this.#parts;
    const node = reading.nodeOf(folder, listed, noted, begun);
    if (node.known !== GUESSED || this.#isSafe(folder, listed.facts)) return node;
    space.drop(node);
    return undefined;
  }

  /** The store was waited for, for so many milliseconds, before a lookup was answered. */
  waited(folder: Node, ms: number): void {
    const now = this.#parts.space.ms();
    const counts = this.#countsOf(folder, now);
    counts.since = Math.min(now, counts.since + ms);
  }

  missed(folder: Node, path: string, thread: number): void {
    const now = this.#parts.space.ms();
    for (const row of [this.#countsOf(folder, now), this.#threadOf(thread, now)]) {
      if (row.missed !== undefined) row.count = 0;
      row.missed = path;
    }
  }

  made(folder: Node, path: string, thread: number): void {
    const now = this.#parts.space.ms();
    for (const row of [this.#countsOf(folder, now), this.#threadOf(thread, now)]) {
      row.count = row.missed === path ? row.count + 1 : 0;
      row.missed = undefined;
      row.at = now;
    }
  }

  #countsOf(folder: Node, now: number): FolderLookups {
    const known = this.#folders.get(folder);
    if (known !== undefined) return known;
    const counts = {
      count: 0,
      missed: undefined,
      at: now,
      lookups: 0,
      since: now,
      range: undefined,
      fetching: undefined,
    };
    this.#folders.set(folder, counts);
    return counts;
  }

  #threadOf(thread: number, now: number): Row {
    const known = this.#threads.get(thread);
    if (known !== undefined) return known;
    if (this.#threads.size >= THREADS) this.#threads.clear();
    const row = { count: 0, missed: undefined, at: now };
    this.#threads.set(thread, row);
    return row;
  }
}
