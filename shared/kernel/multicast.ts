import type { Message } from './attribute.ts';
import { Netlink } from './netlink.ts';
import { watchReadable } from './readable.ts';

/** Events handled before others get their turn of the event loop. */
const TURN = 256;

export interface MulticastOptions {
  /** Descriptor of a network namespace; the own one when absent. */
  readonly netns?: number;
  /** Bytes; 4 MiB when absent. */
  readonly receiveBuffer?: number;
}

export interface MulticastHandlers {
  /** A message as it arrived, valid during the call only; it must not throw. */
  onMessage(message: Message): void;
  /**
   * Messages were lost; from now on they are told again. The kernel keeps dropping, and says so only once, until all that
   * it holds has been read (net/netlink/af_netlink.c, NETLINK_S_CONGESTED), so this is called only then.
   */
  onOverflow(): void;
}

/**
 * Listens to groups of one netlink protocol, in the kernel's order, from the event loop. Does not keep the process
 * alive; `close` is immediate and nothing comes after it. The constructor throws KernelError.
 */
export class Multicast implements Disposable {
  readonly #socket: Netlink;
  readonly #handlers: MulticastHandlers;
  readonly #watch: { close(): void };
  #open = true;
  #behind = false;
  #overflowed = false;

  constructor(
    protocol: number,
    groups: readonly number[],
    handlers: MulticastHandlers,
    { netns, receiveBuffer = 4 << 20 }: MulticastOptions = {},
  ) {
    this.#handlers = handlers;
    this.#socket = new Netlink(protocol, { receiveBuffer, groups, ...(netns === undefined ? {} : { netns }) });
    this.#watch = watchReadable(this.#socket.fd, () => this.#take());
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.close();
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #take(): void {
    if (!this.#open || this.#behind) return;
    const outcome = this.#socket.takeEvents((message) => this.#emit(message), TURN);
    if (!this.#open) return;
    if (outcome === 'empty') {
      this.#tellOverflow();
      return;
    }
    this.#overflowed ||= outcome === 'overflow';
    this.#behind = true;
    setImmediate(() => {
      this.#behind = false;
      this.#take();
    });
  }

  #tellOverflow(): void {
    if (!this.#overflowed) return;
    this.#overflowed = false;
    this.#handlers.onOverflow();
  }

  #emit(message: Message): void {
    if (this.#open) this.#handlers.onMessage(message);
  }
}
