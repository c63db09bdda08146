import type { Logger } from '../../shared/log.ts';
import { Errno } from '../fuse/file-system.ts';
import { records } from './content-records.ts';
import type { Stack } from './content-stack.ts';

const stale = (): Errno =>
  new Errno('ESTALE', 'somebody else has changed the object: what was written here was kept beside it');

/**
 * That an update of a file was lost is told once to who has it open, over the engine's death too. Until then nothing more is
 * written to it: it would come to lie over somebody else's bytes.
 */
export class Loss {
  readonly #node: number;
  readonly #stack: Stack;
  readonly #logger: Logger;
  #isUntold = false;
  /** It is being told. That is written down with the next call at the latest, as the engine may die before it is heard. */
  #isTelling = false;

  constructor(node: number, stack: Stack, logger: Logger) {
    this.#node = node;
    this.#stack = stack;
    this.#logger = logger;
  }

  /** Must be told still, or may have to be told by the engine's next life. */
  get isKept(): boolean {
    return this.#isUntold || this.#isTelling;
  }

  get isUntold(): boolean {
    return this.#isUntold;
  }

  happened(): void {
    this.#isUntold = true;
    this.#isTelling = false;
  }

  /** Before a change. Errors: ESTALE until it was told. */
  mayChange(): void {
    if (this.#isUntold) throw stale();
    this.told();
  }

  /** What is behind the end of a file without an object: one that others have removed must not look empty. Errors: ESTALE until it was told. */
  atEnd(): readonly Buffer[] {
    if (this.#isUntold) throw stale();
    return [];
  }

  /** What a flush fails with. */
  tell(): Errno {
    this.#isUntold = false;
    this.#isTelling = true;
    return stale();
  }

  /** It was heard. Errors: Errno of the log's disk. */
  told(): void {
    if (!this.#isTelling) return;
    this.#stack.log(records.told(this.#node));
    this.#isTelling = false;
  }

  /** Nobody has it open: there is nobody to be told. */
  over(): void {
    this.#isTelling ||= this.#isUntold;
    this.#isUntold = false;
    try {
      this.told();
    } catch (error) {
      this.#logger.warn('the state log does not take that a lost update was told', { error });
    }
  }
}
