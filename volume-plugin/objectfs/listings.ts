import { type FindNote, type ListedRange, Listing } from './listing.ts';
import type { Space } from './space.ts';

/** So many entries of finished listings are remembered for the volume, and of so many folders. */
const REMEMBERED = 60_000;
const FOLDERS = 1_000;

/** Listings of folders that were read last. */
export class Listings {
  readonly #space: Space;
  readonly #byPath = new Map<string, Listing>();
  /** On their way to take the place of those that are there. */
  readonly #renewing = new Map<string, Listing>();
  readonly #bounds = new Map<string, readonly string[]>();
  /** Folders that have turned out to be too long to be listed in advance. */
  readonly #long = new Set<string>();
  readonly #changedAt = new Map<string, number>();
  begun = 0;

  constructor(space: Space) {
    this.#space = space;
  }

  /** One that may be relied on, or a new one. */
  of(path: string): Listing {
    return this.fresh(path) ?? this.begin(path);
  }

  /** One that is young enough to be relied on. */
  fresh(path: string): Listing | undefined {
    const listing = this.#byPath.get(path);
    if (listing === undefined || !listing.isUsable) return undefined;
    return this.#space.ms() - listing.begun < this.#space.reliedMs ? listing : undefined;
  }

  begin(path: string): Listing {
    this.begun += 1;
    const old = this.#byPath.get(path);
    if (old?.isWhole === true) this.#bounds.set(path, old.bounds);
    const listing = new Listing(this.#space, path, this.#bounds.get(path));
    this.#byPath.delete(path);
    this.#byPath.set(path, listing);
    this.#forgetOld();
    return listing;
  }

  isLong(path: string): boolean {
    return this.#long.has(path);
  }

  /** Names behind one in a long folder: a page of them. */
  async after(path: string, name: string): Promise<ListedRange> {
    this.begun += 1;
    const range = new Listing(this.#space, path);
    await range.only(name);
    return range.range(name);
  }

  /** A folder that this host has just made has nothing in it. */
  seed(path: string, begun: number): void {
    const listing = new Listing(this.#space, path);
    listing.beEmpty(begun);
    this.#byPath.set(path, listing);
  }

  /** A new one in the background; until it is whole the old one is what it was. `read` reads the folder's notes. */
  renew(path: string, read: (path: string) => Promise<FindNote>): void {
    if (this.#renewing.has(path)) return;
    this.begun += 1;
    const listing = new Listing(this.#space, path, this.#byPath.get(path)?.bounds ?? this.#bounds.get(path));
    this.#renewing.set(path, listing);
    Promise.all([read(path), listing.whole()])
      .then(([findNote, isWhole]) => {
        listing.findNote = findNote;
        if (isWhole) this.#long.delete(path);
        else this.#long.add(path);
        if (this.#renewing.get(path) === listing && listing.isWhole) this.#byPath.set(path, listing);
        this.#forgetOld();
      })
      .catch((error: unknown) => this.#space.logger.debug('a folder could not be listed in advance', { path, error }))
      .finally(() => this.#renewing.delete(path));
  }

  /** When this host has changed something in a folder, of late. */
  changedAt(path: string): number {
    return this.#changedAt.get(path) ?? Number.NEGATIVE_INFINITY;
  }

  /** This host has made or removed a name. */
  changed(folder: string, name: string, isThere: boolean): void {
    this.#changedAt.delete(folder);
    this.#changedAt.set(folder, this.#space.ms());
    const [oldest] = this.#changedAt.keys();
    if (this.#changedAt.size > FOLDERS && oldest !== undefined) this.#changedAt.delete(oldest);
    this.#byPath.get(folder)?.changed(name, isThere);
    this.#renewing.get(folder)?.changed(name, isThere);
  }

  /** A folder, or what is below it, has gone elsewhere. */
  forgetBelow(path: string): void {
    for (const map of [this.#byPath, this.#renewing, this.#bounds]) {
      for (const one of map.keys()) if (one === path || one.startsWith(`${path}/`)) map.delete(one);
    }
  }

  get entries(): number {
    let sum = 0;
    for (const { size } of this.#byPath.values()) sum += size;
    return sum;
  }

  #forgetOld(): void {
    let left = this.entries;
    for (const [path, listing] of this.#byPath) {
      if ((left <= REMEMBERED && this.#byPath.size <= FOLDERS) || this.#byPath.size === 1) break;
      if (listing.isWhole) this.#bounds.set(path, listing.bounds);
      left -= listing.size;
      this.#byPath.delete(path);
    }
    while (this.#bounds.size > FOLDERS) {
      const [oldest] = this.#bounds.keys();
      if (oldest !== undefined) this.#bounds.delete(oldest);
    }
  }
}
