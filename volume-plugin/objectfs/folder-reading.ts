import type { Answer, Caller, FolderEntry, Opened } from '../fuse/file-system.ts';
import { applyStated } from './attributes.ts';
import type { Handle, Handles } from './handles.ts';
import type { FindNote, Listed, Listing } from './listing.ts';
import type { Listings } from './listings.ts';
import type { Lookups } from './lookups.ts';
import { GUESSED, type Node } from './nodes.ts';
import { applyNote, isSameObject, type Noted, type Notes } from './notes.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from './object-metadata.ts';
import type { Space } from './space.ts';
import type { StateRecord } from './state-log.ts';

/** What is answered at once: about what the kernel has room for. */
const PLUS_ENTRIES = 192;
const PLAIN_ENTRIES = 768;
/** Cookies: 1 is `.`, 2 is `..`, then local names, then pages with room for so many entries. */
const LOCALS = 3;
const PAGES = 2 ** 32;
const PER_PAGE = 2 ** 20;
/** With `attributes=objects`: so many objects are asked at a time. */
const ASKED_AT_ONCE = 64;

export interface FolderReadingParts {
  readonly space: Space;
  readonly handles: Handles;
  readonly listings: Listings;
  readonly lookups: Lookups;
  readonly notes: Notes;
}

/** opendir, readdir, releasedir. */
export class FolderReading {
  readonly #space: Space;
  readonly #handles: Handles;
  readonly #listings: Listings;
  readonly #lookups: Lookups;
  readonly #notes: Notes;
  readonly #noteReads = new WeakMap<Listing, Promise<FindNote>>();

  constructor({ space, handles, listings, lookups, notes }: FolderReadingParts) {
    this.#space = space;
    this.#handles = handles;
    this.#listings = listings;
    this.#lookups = lookups;
    this.#notes = notes;
  }

  open(id: number, caller: Caller): Opened {
    const node = this.#space.folder(id);
    const before = caller.resent ? this.#handles.openedBy(caller.unique) : undefined;
    if (before !== undefined) return { handle: before.id, keepCache: false };
    const handle = this.#handles.open(node, 0, caller.unique);
    if (!node.unlinked) this.#begin(handle);
    this.#space.journal.note(handle.record());
    return { handle: handle.id, keepCache: false };
  }

  close(handleId: number): void {
    const handle = this.#handles.shut(handleId);
    if (handle === undefined) return;
    this.#space.journal.note({ of: 'shut', h: handleId });
    this.#space.drop(handle.node);
  }

  read(handleId: number, cookie: number, plus: boolean, _caller: Caller): Answer<readonly FolderEntry[]> {
    const handle = this.#handles.get(handleId);
    // A folder that was removed while it is open has nothing in it, not even itself.
    if (this.#space.nodes.path(handle.node) === undefined) return [];
    // rewinddir(3)
    if (cookie === 0 && handle.wasRead) this.#begin(handle);
    handle.wasRead = true;
    const { listing } = handle;
    if (listing !== undefined && listing.findNote !== undefined && this.#space.semantics.attributes === 'listed') {
      const page = pageOf(cookie);
      if (listing.peek(page) !== undefined && !listing.isDropped(page)) {
        const entries = this.#atHand(handle, cookie, plus);
        if (entries.length > 0 || listing.isWhole) return entries;
      }
    }
    return this.#wait(handle, cookie, plus);
  }

  #begin(handle: Handle): void {
    const { node } = handle;
    const path = this.#space.path(node);
    const listing = this.#listings.of(path);
    handle.listing = listing;
    const locals = new Set<string>();
    for (const [name, child] of node.children ?? []) if (child.live?.isNew === true) locals.add(name);
    for (const [name, isThere] of listing.changes) if (isThere) locals.add(name);
    handle.locals = [...locals];
    this.#readNotes(listing).catch(() => undefined);
    // Begun before it is asked for: opendir is followed by readdir.
    listing.page(0).catch(() => undefined);
  }

  /** Notes are read beside the listing. */
  #readNotes(listing: Listing): Promise<FindNote> {
    if (listing.findNote !== undefined) return Promise.resolve(listing.findNote);
    const known = this.#noteReads.get(listing);
    if (known !== undefined) return known;
    const reading = this.#notes.read(listing.path).then((find) => {
      listing.findNote = find;
      return find;
    });
    reading.catch(() => this.#noteReads.delete(listing));
    this.#noteReads.set(listing, reading);
    return reading;
  }

  async #wait(handle: Handle, cookie: number, plus: boolean): Promise<readonly FolderEntry[]> {
    // Of an earlier life's handle the listing is begun anew; what it had listed first stays first.
    if (handle.listing === undefined || handle.listing.isDropped(pageOf(cookie))) {
      const path = this.#space.path(handle.node);
      handle.listing = handle.listing === undefined ? this.#listings.of(path) : this.#listings.begin(path);
      handle.locals ??= [];
    }
    const { listing } = handle;
    await this.#readNotes(listing);
    for (let number = pageOf(cookie); ; number += 1) {
      const page = await listing.page(number);
      if (this.#space.semantics.attributes === 'objects' && plus) await this.#askObjects(handle, cookie);
      const entries = this.#atHand(handle, cookie, plus);
      if (entries.length > 0 || page === undefined) return entries;
    }
  }

  /** From what is at hand: more, or less, than is wanted does no harm. */
  #atHand(handle: Handle, cookie: number, plus: boolean): readonly FolderEntry[] {
    const { node } = handle;
    const most = plus ? PLUS_ENTRIES : PLAIN_ENTRIES;
    const entries: FolderEntry[] = [];
    const records: StateRecord[] = [];
    if (cookie < 1) entries.push({ name: '.', type: S_IFDIR, cookie: 1 });
    if (cookie < 2) entries.push({ name: '..', type: S_IFDIR, cookie: 2 });
    const locals = handle.locals ?? [];
    for (
      let at = Math.max(0, cookie - LOCALS + 1);
      cookie < PAGES && at < locals.length && entries.length < most;
      at += 1
    ) {
      const child = this.#space.nodes.child(node, locals[at] ?? '');
      if (child !== undefined) entries.push(this.#entry(child, plus, LOCALS + at, records));
    }
    if (entries.length < most) this.#fromPages(handle, cookie, plus, most, entries, records);
    this.#space.journal.note(...records);
    return entries;
  }

  #fromPages(
    handle: Handle,
    cookie: number,
    plus: boolean,
    most: number,
    entries: FolderEntry[],
    records: StateRecord[],
  ): void {
    const { listing, node } = handle;
    if (listing === undefined) return;
    const find = listing.findNote;
    const locals = handle.locals === undefined || handle.locals.length === 0 ? undefined : new Set(handle.locals);
    let number = pageOf(cookie);
    let at = cookie < PAGES ? 0 : (cookie - PAGES) % PER_PAGE;
    for (;;) {
      const page = listing.peek(number);
      if (page === undefined) break;
      for (; at < page.length && entries.length < most; at += 1) {
        const listed = page[at];
        if (listed === undefined || locals?.has(listed.name) === true) continue;
        if (listing.changes.get(listed.name) === false) continue;
        const place = PAGES + number * PER_PAGE + at + 1;
        entries.push(this.#listedEntry(node, listed, find, listing.begun, plus, place, records));
      }
      if (entries.length >= most) break;
      at = 0;
      number += 1;
    }
    // The page that comes next is fetched while the kernel reads this one.
    if (listing.peek(number) === undefined) void listing.page(number).catch(() => undefined);
  }

  #listedEntry(
    parent: Node,
    listed: Listed,
    find: FindNote | undefined,
    begun: number,
    plus: boolean,
    cookie: number,
    records: StateRecord[],
  ): FolderEntry {
    const { name } = listed;
    const known = this.#space.nodes.child(parent, name);
    const noted = find?.(name, listed.facts);
    const node = plus ? this.nodeOf(parent, listed, noted, begun) : known;
    // What would only be guessed where guesses were wrong is looked up by whoever wants it.
    if (node !== undefined && !(node.known === GUESSED && this.#space.surprising.has(parent))) {
      return this.#entry(node, plus, cookie, records);
    }
    if (node !== undefined) this.#space.drop(node);
    const { mode } = node ?? noted ?? { mode: S_IFREG };
    return { name, type: listed.facts === undefined ? S_IFDIR : mode & S_IFMT, cookie };
  }

  #entry(node: Node, plus: boolean, cookie: number, records: StateRecord[]): FolderEntry {
    const plain = { name: node.name, type: node.mode & S_IFMT, cookie };
    if (!plus) return plain;
    if (!node.logged) records.push(...this.#space.written(node));
    return { ...plain, entry: this.#space.entry(node) };
  }

  /** The node of a name in a listing that was begun at `begun`, with the best that is known of it. */
  nodeOf(parent: Node, listed: Listed, noted: Noted | undefined, begun: number): Node {
    const { nodes, semantics } = this.#space;
    const { name, facts } = listed;
    let child = nodes.child(parent, name);
    if (child !== undefined && (child.seen > begun || this.#lookups.isOwn(child))) return child;
    if (child !== undefined && child.isFolder !== (facts === undefined)) {
      if (this.#lookups.hasOwn(child)) return child;
      this.#space.lose(child);
      child = undefined;
    }
    if (
      child !== undefined &&
      (facts === undefined || (child.facts !== undefined && isSameObject(child.facts, facts)))
    ) {
      if (child.known > GUESSED || noted === undefined) {
        child.seen = begun;
        return child;
      }
    }
    const type = facts === undefined ? S_IFDIR : noted === undefined ? S_IFREG : noted.mode & S_IFMT;
    if (child !== undefined && (child.mode & S_IFMT) !== type) {
      this.#space.lose(child);
      child = undefined;
    }
    const node = child ?? nodes.make(parent, name, type);
    const old = node.facts;
    if (facts !== undefined) node.facts = facts;
    if (!node.isChanged) {
      node.known = GUESSED;
      if (noted !== undefined) applyNote(node, noted, this.#space);
      else applyStated(node, {}, undefined, semantics.defaults);
      // A note of a folder may be of another one of that name.
      if (facts === undefined) node.known = GUESSED;
    }
    this.#lookups.replaced(node, old);
    node.seen = begun;
    return node;
  }

  /** With `attributes=objects`: those that will be answered are asked for what the listing does not tell. */
  async #askObjects(handle: Handle, cookie: number): Promise<void> {
    const { listing, node } = handle;
    if (listing === undefined) return;
    const find = listing.findNote;
    const page = listing.peek(pageOf(cookie)) ?? [];
    const at = cookie < PAGES ? 0 : (cookie - PAGES) % PER_PAGE;
    const names: string[] = [];
    for (const listed of page.slice(at, at + PLUS_ENTRIES)) {
      if (listed === undefined || listing.changes.get(listed.name) === false) continue;
      const child = this.nodeOf(node, listed, find?.(listed.name, listed.facts), listing.begun);
      if (child.known === GUESSED) names.push(listed.name);
    }
    for (let n = 0; n < names.length; n += ASKED_AT_ONCE) {
      await Promise.all(names.slice(n, n + ASKED_AT_ONCE).map((name) => this.#lookups.find(node, name)));
    }
  }
}

const pageOf = (cookie: number): number => (cookie < PAGES ? 0 : Math.floor((cookie - PAGES) / PER_PAGE));
