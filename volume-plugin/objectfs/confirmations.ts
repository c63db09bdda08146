import { byteOrder } from '../object/byte-order.ts';
import type { Listed } from './listing.ts';
import type { Lookups } from './lookups.ts';
import type { Node } from './nodes.ts';
import type { Space } from './space.ts';

/** So many names are asked for at a time, at most. */
const MOST = 64;
/** Whoever goes on within so many names goes through the folder in order. */
const NEAR = 256;
/** So many names are looked at for each that is to be asked for. */
const LOOKED_AT = 4;
/** What nobody has looked up for so long is let go. */
const KEPT_MS = 2_000;

/** Where in a folder somebody is who looks up name after name. */
interface Walk {
  from: string;
  upTo: string;
  most: number;
  /** Names that have not been answered yet. */
  waiting: number;
}

/**
 * Asks the store for names that a listing does not tell enough of, ahead of a program that looks them up one after another: one
 * name at first, and twice as many each time that it goes on where the last ones ended. What a name is then is known for as long
 * as listings show the same object.
 */
export class Confirmations {
  readonly #space: Space;
  readonly #lookups: Lookups;
  readonly #walks = new WeakMap<Node, Walk>();
  #kept: Node[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(space: Space, lookups: Lookups) {
    this.#space = space;
    this.#lookups = lookups;
  }

  /** Begins with `name`; `names`: all of the folder in order; `isUnsure`: has one of them to be asked for? */
  begin(folder: Node, name: string, names: readonly Listed[], isUnsure: (listed: Listed) => boolean): void {
    const walk = this.#walks.get(folder) ?? { from: '', upTo: '', most: 1, waiting: 0 };
    const isOnItsWay = walk.waiting > 0 && byteOrder(name, walk.from) >= 0 && byteOrder(name, walk.upTo) <= 0;
    if (isOnItsWay) return;
    const at = firstFrom(names, name);
    const steps = at - firstFrom(names, walk.upTo);
    walk.most = steps >= 0 && steps <= NEAR ? Math.min(MOST, 2 * walk.most) : Math.max(1, walk.most >> 2);
    walk.from = name;
    let left = walk.most;
    for (const listed of names.slice(at, at + LOOKED_AT * walk.most)) {
      walk.upTo = listed.name;
      if (!isUnsure(listed)) continue;
      this.#ask(folder, listed, walk);
      left -= 1;
      if (left === 0) break;
    }
    this.#walks.set(folder, walk);
  }

  #ask(folder: Node, { name, facts }: Listed, walk: Walk): void {
    walk.waiting += 1;
    this.#lookups
      .find(folder, name, facts === undefined ? 'folder' : 'file')
      .then(
        (node) => node !== undefined && this.#keep(node),
        (error: unknown) => this.#space.logger.debug('a name could not be asked for in advance', { name, error }),
      )
      .finally(() => {
        walk.waiting -= 1;
      });
  }

  /** Nobody has a reference to it yet. */
  #keep(node: Node): void {
    this.#kept.push(node);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const one of this.#kept.splice(0)) this.#space.drop(one);
    }, KEPT_MS).unref();
  }
}

/** The place of the first that is not before `name`. */
const firstFrom = (names: readonly Listed[], name: string): number => {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byteOrder(names[middle]?.name ?? '', name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
};
