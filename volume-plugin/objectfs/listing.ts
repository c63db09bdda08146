import { byteOrder } from '../object/byte-order.ts';
import type { ObjectFacts, Page } from '../object/store.ts';
import { ownFacts } from './lookups.ts';
import { isName } from './naming.ts';
import type { Facts } from './nodes.ts';
import type { Noted } from './notes.ts';
import type { Space } from './space.ts';

/** A name of a folder as LIST tells it. Facts of an object; folders below have none. */
export interface Listed {
  readonly name: string;
  readonly facts: Facts | undefined;
}

/** Names of a folder behind `from`, up to and with `to` (undefined: the end), as they were at `begun`. */
export interface ListedRange {
  readonly from: string;
  readonly to: string | undefined;
  readonly begun: number;
  readonly names: ReadonlyMap<string, Listed>;
  readonly inOrder: readonly Listed[];
}

/** What is noted of an object, or (without facts) of a folder, under a name. */
export type FindNote = (name: string, facts: Facts | undefined) => Noted | undefined;

/** A page of a listing. Pages are what cookies are made of: page and place in it. */
interface ListedPage {
  readonly entries: readonly (Listed | undefined)[];
  /** The page's last key; undefined: it is the last page. */
  readonly last: string | undefined;
}

/** Pages that are fetched ahead of the one that is wanted. */
const AHEAD = 20;
/** Pages behind the one that is wanted that are kept of a folder with very many entries. */
const BEHIND = 40;
/** A listing that has been changed here more often is not used again. */
const CHANGES = 10_000;
const DROPPED: readonly undefined[] = [];
/** So many pages of a listing that was there before are asked for at once. */
const AT_ONCE = 16;

/**
 * What a folder has in the store, page by page, in the byte order of keys. When where the pages of an earlier listing ended is
 * known, they are fetched side by side; otherwise one page names the next, which is asked for before it is wanted.
 */
export class Listing {
  readonly path: string;
  /** When it was begun: what it says is not older. */
  begun: number;
  /** Names that this host has made (true) or removed since. */
  readonly changes = new Map<string, boolean>();
  /** Finds what is noted of an entry; undefined: notes are not read yet. */
  findNote: FindNote | undefined;
  /** Facts of the folder's own marker; null: it has none; undefined: not known yet. */
  marker: Facts | null | undefined;
  readonly #space: Space;
  readonly #prefix: string;
  readonly #pages: (Promise<ListedPage> | undefined)[] = [];
  readonly #here: (ListedPage | undefined)[] = [];
  readonly #bounds: readonly string[];
  #wanted = 0;
  #hasDropped = false;
  #names: Map<string, Listed> | undefined;
  #inOrder: readonly Listed[] | undefined;
  /** Names of files that have a folder of the same name, which another page tells. */
  readonly #twins = new Set<string>();
  #size = 0;
  failed = false;

  constructor(space: Space, path: string, bounds: readonly string[] = []) {
    this.#space = space;
    this.path = path;
    this.begun = space.ms();
    this.#prefix = space.naming.folderKey(path);
    this.#bounds = bounds.slice(0, AT_ONCE);
  }

  /** All pages are at hand. */
  get isWhole(): boolean {
    if (this.#hasDropped) return false;
    for (let n = 0; ; n += 1) {
      const page = this.#here[n];
      if (page?.last === undefined) return page !== undefined;
    }
  }

  /** Was a page given up, because the reader has gone on far beyond it? */
  isDropped(number: number): boolean {
    return this.#here[number]?.entries === DROPPED;
  }

  get size(): number {
    return this.#size;
  }

  /** Where its pages end: so can the next listing of the folder be fetched in parallel. */
  get bounds(): readonly string[] {
    return this.#here.flatMap((page) => (page?.last === undefined ? [] : [page.last]));
  }

  /** A page that is at hand. */
  peek(number: number): readonly (Listed | undefined)[] | undefined {
    return this.#here[number]?.entries;
  }

  /** Undefined: there are no more. Errors: StoreError. */
  async page(number: number): Promise<readonly (Listed | undefined)[] | undefined> {
    this.#wanted = Math.max(this.#wanted, number);
    for (let n = 0; n <= number; n += 1) {
      const page = this.#here[n] ?? (await this.#fetch(n));
      if (page === undefined) return undefined;
      if (n === number) {
        this.#ahead(n);
        this.#dropBehind();
        return page.entries;
      }
      if (page.last === undefined) return undefined;
    }
    return undefined;
  }

  /** Fetches all of it. False: it is too long for that. */
  async whole(): Promise<boolean> {
    for (let n = 0; n < AHEAD; n += 1) if ((await this.page(n)) === undefined) return true;
    return this.isWhole;
  }

  /** Fetches one page, of what is behind a name. */
  async only(name: string): Promise<void> {
    const page = await this.#space.store.list(
      this.#prefix,
      { delimiter: '/', after: this.#prefix + name },
      this.#space.context(),
    );
    const entries = this.#entries(page.objects, page.prefixes, 1);
    this.#here[0] = { entries, last: page.next === undefined ? undefined : lastOf(page) };
  }

  range(from: string): ListedRange {
    const last = this.#here[0]?.last;
    this.find(from);
    return {
      from,
      to: last === undefined ? undefined : last.slice(this.#prefix.length),
      begun: this.begun,
      names: this.#names ?? new Map(),
      // Of a file and a folder of one name, the folder may be on the page that follows.
      inOrder: this.inOrder.filter(
        ({ name, facts }) =>
          facts === undefined || last === undefined || byteOrder(`${this.#prefix}${name}/`, last) <= 0,
      ),
    };
  }

  /** What is at hand, by names, less those of which it cannot be said what they are. */
  get inOrder(): readonly Listed[] {
    this.#inOrder ??= this.#here
      .flatMap((page) => page?.entries ?? [])
      .flatMap((listed) => (listed === undefined || this.#twins.has(listed.name) ? [] : [listed]))
      .sort((a, b) => byteOrder(a.name, b.name));
    return this.#inOrder;
  }

  /** What a listing that is whole says of a name; undefined: it is not there. */
  find(name: string): Listed | undefined {
    if (this.#names === undefined) {
      this.#names = new Map();
      for (const page of this.#here) {
        for (const listed of page?.entries ?? []) if (listed !== undefined) this.#names.set(listed.name, listed);
      }
    }
    return this.#names.get(name);
  }

  /** It was made here, when nothing was there. */
  beEmpty(begun: number): void {
    this.begun = begun;
    this.findNote = () => undefined;
    this.#here[0] = { entries: [], last: undefined };
  }

  changed(name: string, isThere: boolean): void {
    this.changes.set(name, isThere);
  }

  get isUsable(): boolean {
    return !this.failed && !this.#hasDropped && this.changes.size < CHANGES;
  }

  #ahead(number: number): void {
    const next = number + 1;
    if (this.#here[number]?.last === undefined || this.#pages[next] !== undefined || this.#here[next] !== undefined)
      return;
    if (next > this.#wanted + AHEAD) return;
    this.#fetch(next).then(
      () => this.#ahead(next),
      () => undefined,
    );
  }

  /** Undefined: the page before is the last one. */
  async #fetch(number: number): Promise<ListedPage | undefined> {
    if (number > 0 && this.#here[number - 1] !== undefined && this.#here[number - 1]?.last === undefined)
      return undefined;
    if (number === 0) for (let n = 1; n <= this.#bounds.length; n += 1) this.#start(n);
    return await this.#start(number);
  }

  #start(number: number): Promise<ListedPage> {
    const flight = this.#pages[number];
    if (flight !== undefined) return flight;
    const started = this.#load(number).then(
      (page) => {
        this.#here[number] = page;
        this.#size += page.entries.length;
        this.#names = undefined;
        this.#inOrder = undefined;
        this.#pages[number] = undefined;
        this.#ahead(number);
        return page;
      },
      (error: unknown) => {
        this.failed = true;
        this.#pages[number] = undefined;
        throw error;
      },
    );
    // Whoever wants the page is told; nobody may want it.
    started.catch(() => undefined);
    this.#pages[number] = started;
    return started;
  }

  async #load(number: number): Promise<ListedPage> {
    const bound = this.#bounds[number];
    const after = number === 0 ? undefined : (this.#bounds[number - 1] ?? this.#here[number - 1]?.last);
    const objects: ObjectFacts[] = [];
    const prefixes: string[] = [];
    const c = this.#space.context();
    let page: Page;
    let from: string | undefined;
    for (;;) {
      const where = from !== undefined ? { from } : after !== undefined ? { after } : {};
      page = await this.#space.store.list(this.#prefix, { delimiter: '/', ...where }, c);
      objects.push(...page.objects);
      prefixes.push(...page.prefixes);
      from = page.next;
      if (from === undefined || bound === undefined) break;
      const last = lastOf(page);
      if (last !== undefined && byteOrder(last, bound) >= 0) break;
    }
    const isIn = (key: string): boolean =>
      (after === undefined || byteOrder(key, after) > 0) && (bound === undefined || byteOrder(key, bound) <= 0);
    const isMore = from !== undefined || (bound !== undefined && isBeyond(page, bound));
    const last = bound ?? lastOf(page);
    return {
      entries: this.#entries(
        objects.filter(({ key }) => isIn(key)),
        prefixes.filter(isIn),
        number,
      ),
      last: isMore ? last : undefined,
    };
  }

  #entries(objects: readonly ObjectFacts[], prefixes: readonly string[], number: number): (Listed | undefined)[] {
    const { naming, counts } = this.#space;
    const entries: (Listed | undefined)[] = [];
    const at = new Map<string, number>();
    const start = this.#prefix.length;
    if (number === 0) this.marker = null;
    for (const object of objects) {
      if (object.key.length === start) {
        this.marker = ownFacts(object);
        continue;
      }
      const name = own(object.key.slice(start));
      if (!isName(name)) counts.hidden += 1;
      else {
        if (prefixes.length > 0) at.set(name, entries.length);
        entries.push({ name, facts: ownFacts(object) });
      }
    }
    for (const prefix of prefixes) {
      const name = own(prefix.slice(start, -1));
      if (naming.isHidden(this.path, name)) continue;
      if (!isName(name)) {
        counts.hidden += 1;
        continue;
      }
      // Of a file and a folder of one name the folder is shown; it comes later in the order of keys.
      const twin = at.get(name);
      if (twin !== undefined) {
        entries[twin] = undefined;
        counts.hidden += 1;
      } else if (this.#isListed(name, number)) {
        counts.hidden += 1;
        this.#twins.add(name);
        continue;
      }
      entries.push({ name, facts: undefined });
    }
    return entries;
  }

  /** Has an earlier page a file of that name? Then it was shown already. */
  #isListed(name: string, before: number): boolean {
    for (let n = 0; n < before; n += 1) {
      const last = this.#here[n]?.last;
      if (last !== undefined && byteOrder(last, this.#prefix + name) < 0) continue;
      return this.#here[n]?.entries.some((listed) => listed?.name === name) ?? false;
    }
    return false;
  }

  #dropBehind(): void {
    const oldest = this.#wanted - BEHIND;
    for (let n = 0; n < oldest; n += 1) {
      const page = this.#here[n];
      if (page === undefined || page.entries === DROPPED) continue;
      this.#size -= page.entries.length;
      this.#here[n] = { entries: DROPPED, last: page.last };
      this.#hasDropped = true;
    }
  }
}

const own = (text: string): string => Buffer.from(text).toString();

/** In the order of keys, objects and prefixes together. */
const lastOf = ({ objects, prefixes }: Page): string | undefined => {
  const object = objects.at(-1)?.key;
  const prefix = prefixes.at(-1);
  if (object === undefined || prefix === undefined) return object ?? prefix;
  return byteOrder(object, prefix) > 0 ? object : prefix;
};

const isBeyond = (page: Page, bound: string): boolean => {
  const last = lastOf(page);
  return last !== undefined && byteOrder(last, bound) > 0;
};
