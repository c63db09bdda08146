import { type ObjectFacts, type Part, StoreError, type WriteCondition } from '../object/store.ts';
import type { Base, Description } from './content.ts';
import { records, type UploadState } from './content-records.ts';
import { callContext, type World } from './content-world.ts';
import { type PlannedPart, partAt } from './parts-plan.ts';
import type { Patience } from './uploader-patience.ts';

/** An upload in parts: what is there of it is in the state log, so that the engine's next life goes on with it. */
export class PartsUpload {
  readonly state: UploadState;
  readonly #world: World;
  readonly #node: number;
  /** Numbers that are on their way, each after the one before of the same number. */
  readonly #under = new Map<number, Promise<unknown>>();
  /** Numbers whose bytes were written again while they were on their way. */
  readonly #stale = new Set<number>();
  #over = false;
  /** It may have been completed already. */
  tried = false;

  constructor(world: World, node: number, state: UploadState) {
    this.#world = world;
    this.#node = node;
    this.state = state;
  }

  static async begin(
    world: World,
    node: number,
    key: string,
    token: string,
    described: Description,
    patience: Patience,
    scope: { readonly copies: boolean; readonly layers: number },
  ): Promise<PartsUpload> {
    const id = await patience.call(() =>
      world.store.beginUpload(key, withToken(described, token), callContext(world, 0)),
    );
    const state: UploadState = { id, key, token, described, ...scope, parts: new Map() };
    world.log.append(records.upload(node, state));
    return new PartsUpload(world, node, state);
  }

  /** It was ended, or has failed: nothing can be done with it. */
  get over(): boolean {
    return this.#over;
  }

  /** Is this part there, with these bytes? */
  has({ number, start, end }: PlannedPart): boolean {
    const there = this.state.parts.get(number);
    return there !== undefined && there.offset === start && there.part.size === end - start;
  }

  /** When this part is not on its way any more. */
  async arrival(number: number): Promise<void> {
    // Whoever began it is told how that failed.
    await this.#under.get(number)?.catch(() => undefined);
  }

  /** These bytes were changed: parts that have some of them are to be uploaded again. Only for parts that are where `partSpan` says. */
  touched(start: number, end: number): void {
    if (this.#over || start >= end) return;
    const { sizes } = this.#world;
    const last = partAt(end - 1, sizes);
    for (let number = partAt(start, sizes); number <= last; number += 1) {
      if (this.#under.has(number)) this.#stale.add(number);
      if (this.state.parts.delete(number)) this.#world.log.append(records.spoilt(this.#node, this.state.id, number));
    }
  }

  /** Uploads a part whose bytes `read` brings into memory that it is given. */
  async upload(planned: PlannedPart, read: (into: Buffer) => Promise<void>, patience: Patience): Promise<void> {
    const bytes = planned.end - planned.start;
    await this.#one(planned, async () => {
      const lent = await this.#world.memory.take(bytes, this.#world.context);
      try {
        await read(lent.buffer);
        const part = await patience.call(() =>
          this.#world.store.uploadPart(
            this.state.key,
            this.state.id,
            planned.number,
            [lent.buffer],
            callContext(this.#world, bytes),
          ),
        );
        lent.free();
        return part;
      } finally {
        // After a failure a request may still be on its way with these bytes.
        lent.leave();
      }
    });
  }

  /** Copies a part on the server's side. */
  async copy(planned: PlannedPart, base: Base, patience: Patience): Promise<void> {
    const range = { offset: planned.start, length: planned.end - planned.start };
    const source = { key: base.key, range, ifMatch: base.etag };
    await this.#one(planned, () =>
      patience.call(() =>
        this.#world.store.copyPart(
          this.state.key,
          this.state.id,
          planned.number,
          source,
          callContext(this.#world, range.length),
        ),
      ),
    );
  }

  /** Parts that are not in the plan are not in the object. */
  async complete(planned: readonly PlannedPart[], condition: WriteCondition | undefined): Promise<ObjectFacts> {
    const { key, id, parts } = this.state;
    const named: Part[] = planned.flatMap(({ number }) => parts.get(number)?.part ?? []);
    if (named.length < planned.length) throw new StoreError('INVALID', `parts of ${key} are missing`, { key });
    this.tried = true;
    const facts = await this.#world.store.completeUpload(key, id, named, condition, callContext(this.#world, 0));
    this.#over = true;
    return facts;
  }

  /** Gives it up, without waiting for the store's answer: what stays is removed with the bucket's other unfinished uploads. */
  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    this.#world.log.append(records.ended(this.#node, this.state.id));
    const { key, id } = this.state;
    Promise.allSettled(this.#under.values())
      .then(() => this.#world.store.abortUpload(key, id, callContext(this.#world, 0)))
      .catch((error: unknown) => this.#world.logger.warn('an upload could not be given up', { key, error }));
  }

  async #one(planned: PlannedPart, work: () => Promise<Part>): Promise<void> {
    const { number, start } = planned;
    const before = this.#under.get(number);
    const mine = (async () => {
      // Of two with one number the store keeps the one that comes last.
      await before?.catch(() => undefined);
      this.#stale.delete(number);
      const part = await work();
      if (this.#stale.delete(number) || this.#over) return;
      this.#world.log.append(records.part(this.#node, this.state.id, start, part));
      this.state.parts.set(number, { offset: start, part });
    })();
    this.#under.set(number, mine);
    try {
      await mine;
    } finally {
      if (this.#under.get(number) === mine) this.#under.delete(number);
    }
  }
}

/** The name in an object's metadata by which a write is known again whose answer was lost. */
export const TOKEN = 'drayage-write';

export const withToken = (described: Description, token: string): Description => ({
  ...described,
  meta: { ...described.meta, [TOKEN]: token },
});
