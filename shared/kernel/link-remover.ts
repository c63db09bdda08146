import { randomInt } from 'node:crypto';
import type { KernelError } from './kernel-error.ts';
import { deleteGroup, deleteLink, setLink } from './link-change.ts';
import type { NetlinkOptions } from './netlink-socket.ts';
import { Rtnetlink } from './rtnetlink.ts';

/**
 * Deletes links without holding up the event loop. A deletion takes the kernel some 40 ms, whatever it deletes: it
 * waits until no CPU looks at the link any more. So it runs on a thread of libuv's pool, and those that are asked for
 * meanwhile go together in the next one. Kernel source: net/core/dev.c (unregister_netdevice_many, synchronize_net),
 * net/core/rtnetlink.c (rtnl_group_dellink).
 */
export class LinkRemover implements Disposable {
  /** Its own socket: one that waits for a deletion can do nothing else. */
  readonly #rt: Rtnetlink;
  readonly #waiting = new Map<number, Waiting>();
  #busy = false;
  #open = true;

  constructor(options: NetlinkOptions = {}) {
    this.#rt = Rtnetlink.open(options);
  }

  /** Resolves when the link of that index, with its peer, is gone, or was. Throws KernelError. */
  remove(index: number): Promise<void> {
    const known = this.#waiting.get(index);
    if (known !== undefined) return known.done;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.set(index, { done: promise, resolve, reject });
    if (!this.#busy) this.#next();
    return promise;
  }

  /** Closes the socket as soon as what was asked for is done. */
  close(): void {
    this.#open = false;
    if (!this.#busy) this.#rt.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #next(): void {
    const batch = [...this.#waiting].slice(0, LARGEST);
    this.#busy = batch.length > 0;
    if (!this.#busy) {
      if (!this.#open) this.#rt.close();
      return;
    }
    for (const [index] of batch) this.#waiting.delete(index);
    const settle = (finish: (each: Waiting, slot: number) => void): void => {
      batch.forEach(([, each], slot) => {
        finish(each, slot);
      });
      this.#next();
    };
    this.#delete(batch.map(([index]) => index)).then(
      (failures) =>
        settle(({ resolve, reject }, slot) => {
          const failure = failures[slot];
          if (failure === undefined) resolve();
          else reject(failure);
        }),
      (error: unknown) => settle(({ reject }) => reject(error)),
    );
  }

  async #delete(indexes: readonly number[]): Promise<(KernelError | undefined)[]> {
    const group = randomInt(1 << 30, 2 ** 31 - 1);
    const marks = indexes.map((index) => setLink({ index }, { group }));
    const failures = await this.#rt.attemptLater([...marks, deleteGroup(group)]);
    // One that cannot be deleted keeps the whole group: then each by itself.
    if (real(failures.pop()) !== undefined) {
      return (await this.#rt.attemptLater(indexes.map((index) => deleteLink({ index })))).map(real);
    }
    return failures.map(real);
  }
}

interface Waiting {
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

const LARGEST = 60;

/** A link that is gone already is as it should be. */
const real = (failure: KernelError | undefined): KernelError | undefined =>
  failure?.errnoName === 'ENODEV' ? undefined : failure;
