import type { Node, Nodes } from './nodes.ts';

/** Nodes beyond which the kernel is asked to forget some: the table has about half a KiB for each. */
const MOST_NODES = 80_000;
/** Names that the kernel is asked to forget at a time. */
const AT_A_TIME = 1_000;
const PAUSE_MS = 20;

/**
 * Keeps the table of nodes small: the kernel holds on to each name that it was told of until it needs the memory itself, and
 * whatever it may ask for must be known. Names that are let go are looked up again when they are wanted.
 */
export class Shedding {
  readonly #nodes: Nodes;
  readonly #forget: (parent: number, name: string) => void;
  readonly #most: number;
  #timer: NodeJS.Timeout | undefined;
  /** Where in the table it goes on: the oldest come first, and all in turn. */
  #rest: Iterator<Node> | undefined;
  shed = 0;

  constructor(nodes: Nodes, forget: (parent: number, name: string) => void, most: number = MOST_NODES) {
    this.#nodes = nodes;
    this.#forget = forget;
    this.#most = most;
  }

  /** To be called for each node that is given to the kernel. */
  given(): void {
    if (this.#nodes.size > this.#most) this.#timer ??= setTimeout(() => this.#run(), PAUSE_MS).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #run(): void {
    this.#timer = undefined;
    let asked = 0;
    for (let looked = 0; asked < AT_A_TIME && looked < this.#nodes.size; looked += 1) {
      this.#rest ??= this.#nodes.values()[Symbol.iterator]();
      const { value: node, done } = this.#rest.next();
      if (done === true) this.#rest = undefined;
      else if (this.#canGo(node)) {
        this.#forget(node.parent?.id ?? 0, node.name);
        asked += 1;
      }
    }
    this.shed += asked;
    if (asked > 0) this.given();
  }

  #canGo(node: Node): boolean {
    if (node.parent === undefined || node.unlinked || node.children !== undefined) return false;
    return node.live === undefined || (node.live.opens === 0 && node.live.gate === undefined && !node.isChanged);
  }
}
