import type { Node, Nodes } from './nodes.ts';

/** Nodes beyond which the kernel is asked to forget some: the table has about half a KiB for each. */
const MOST_NODES = 50_000;
/** Names that the kernel is asked to forget at a time. */
const AT_A_TIME = 1_000;
const PAUSE_MS = 20;
/** What the kernel has not forgotten when it was asked once it is using: it is asked again later and later. */
const LONGEST_PAUSE_MS = 60_000;

/**
 * Keeps the table of nodes small: the kernel holds on to each name that it was told of until it needs the memory itself, and
 * whatever it may ask for must be known. Names that are let go are looked up again when they are wanted.
 */
export class Shedding {
  readonly #nodes: Nodes;
  readonly #forget: (parent: number, name: string) => void;
  readonly #most: number;
  #timer: NodeJS.Timeout | undefined;
  /** Behind which number it goes on: the oldest come first, and all in turn. (An iterator would keep the table as it was.) */
  #after = 0;
  #pauseMs = PAUSE_MS;
  shed = 0;

  constructor(nodes: Nodes, forget: (parent: number, name: string) => void, most: number = MOST_NODES) {
    this.#nodes = nodes;
    this.#forget = forget;
    this.#most = most;
  }

  /** To be called for each node that is given to the kernel. */
  given(): void {
    if (this.#nodes.size > this.#most) this.#timer ??= setTimeout(() => this.#run(), this.#pauseMs).unref();
    else this.#pauseMs = PAUSE_MS;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #run(): void {
    this.#timer = undefined;
    let asked = 0;
    for (const node of this.#nodes.values()) {
      if (node.id <= this.#after || !this.#canGo(node)) continue;
      this.#forget(node.parent?.id ?? 0, node.name);
      this.#after = node.id;
      asked += 1;
      if (asked === AT_A_TIME) break;
    }
    if (asked < AT_A_TIME) {
      this.#after = 0;
      this.#pauseMs = Math.min(4 * this.#pauseMs, LONGEST_PAUSE_MS);
    }
    this.shed += asked;
    if (asked > 0) this.given();
  }

  #canGo(node: Node): boolean {
    if (node.parent === undefined || node.unlinked || node.children !== undefined) return false;
    return node.live === undefined || (node.live.opens === 0 && node.live.gate === undefined && !node.isChanged);
  }
}
