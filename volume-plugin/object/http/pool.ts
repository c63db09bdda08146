import { Connection } from './connection.ts';
import { HttpError } from './http-error.ts';
import type { Origin } from './message.ts';
import type { Transport } from './transport.ts';

/** Someone who needs a connection. */
export interface Waiter {
  readonly serve: (connection: Connection) => void;
  readonly fail: (error: HttpError) => void;
}

/**
 * Connections to one origin. The one that was used last is used first, so that those too many grow old; who finds none
 * waits for the first that is free or new, in order.
 */
export class Pool {
  readonly #origin: Origin;
  readonly #transport: Transport;
  readonly #scratch: Buffer;
  readonly #most: number;
  readonly #all = new Set<Connection>();
  readonly #idle: Connection[] = [];
  readonly #waiting = new Set<Waiter>();
  readonly #closing = new AbortController();
  #opening = 0;

  constructor(origin: Origin, transport: Transport, scratch: Buffer, most: number) {
    this.#origin = origin;
    this.#transport = transport;
    this.#scratch = scratch;
    this.#most = most;
  }

  /** Connections, those that are being made included. */
  get size(): number {
    return this.#all.size + this.#opening;
  }

  /** Serves the waiter at once, or when a connection is there. */
  take(waiter: Waiter): void {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      if (kept.isGone) continue;
      waiter.serve(kept);
      return;
    }
    this.#waiting.add(waiter);
    this.#openMore();
  }

  /** It does not wait any more. */
  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** Ends the connections that nobody uses: one of them was dead. */
  dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  /** A round of the client's clock: ends what has been silent, or idle, for too many. */
  tick(silentRounds: number, idleRounds: number, roundMs: number): void {
    for (const connection of this.#all) {
      connection.quietRounds += 1;
      if (connection.isBusy) {
        const most = Math.max(silentRounds, connection.patienceMs / roundMs);
        if (connection.quietRounds <= most) continue;
        const text = `${this.#origin.key} has been silent for ${Math.round((most * roundMs) / 1000)} s`;
        connection.destroy(new HttpError('silent', text, { sent: true }));
        continue;
      }
      // A second earlier than the server, which may be closing it while a request is on its way.
      const said = connection.keptSeconds;
      const most = said === undefined ? idleRounds : Math.min(idleRounds, ((said - 1) * 1000) / roundMs);
      if (connection.quietRounds > most) connection.destroy();
    }
  }

  close(): void {
    this.#closing.abort();
    const error = new HttpError('closed', 'the client was closed');
    for (const waiter of [...this.#waiting]) {
      this.#waiting.delete(waiter);
      waiter.fail(error);
    }
    for (const connection of [...this.#all]) connection.destroy();
  }

  #openMore(): void {
    while (this.#waiting.size > this.#opening && this.size < this.#most && !this.#closing.signal.aborted) {
      this.#opening += 1;
      void this.#open();
    }
  }

  async #open(): Promise<void> {
    const connection = new Connection(
      this.#origin,
      this.#scratch,
      (free) => this.#serveNext(free),
      (gone) => this.#gone(gone),
    );
    try {
      connection.attach(await this.#transport.open(this.#origin, connection.receiver, this.#closing.signal));
    } catch (error) {
      this.#opening -= 1;
      // It was opened for the one who has waited longest; the others have attempts of their own.
      const [first] = this.#waiting;
      if (first !== undefined) this.#waiting.delete(first);
      first?.fail(error instanceof HttpError ? error : new HttpError('unreachable', String(error), { cause: error }));
      this.#openMore();
      return;
    }
    this.#opening -= 1;
    this.#all.add(connection);
    this.#serveNext(connection);
  }

  #serveNext(connection: Connection): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      connection.quietRounds = 0;
      this.#idle.push(connection);
      return;
    }
    this.#waiting.delete(next);
    next.serve(connection);
  }

  #gone(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#openMore();
  }
}
