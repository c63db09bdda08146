import type { Socket } from 'node:net';
import { AnswerReader } from './answer-reader.ts';
import type { WrittenHead } from './head.ts';
import { HttpError } from './http-error.ts';
import type { HttpAnswer, HttpRequest, Origin } from './message.ts';
import type { Receiver } from './transport.ts';
import { troubleOf } from './troubles.ts';

/** So much of a body is handed over at once, bytes: between them it shows that the other side takes it. */
const SLICE = { plain: 1024 * 1024, tls: 256 * 1024 };

/** One request on a connection. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly head: WrittenHead;
  readonly answered: (answer: HttpAnswer) => void;
  /** `untouched`: not a byte of an answer has come. */
  readonly failed: (error: HttpError, untouched: boolean) => void;
}

/**
 * A connection that serves one request after the other. Bytes are read into `scratch`, which all connections share
 * because they are taken from it at once, or straight into the body of an answer.
 */
export class Connection {
  readonly receiver: Receiver;
  readonly #origin: Origin;
  readonly #freed: (connection: Connection) => void;
  readonly #gone: (connection: Connection) => void;
  #socket: Socket | undefined;
  #exchange: Exchange | undefined;
  #reader: AnswerReader | undefined;
  #direct = false;
  #written = false;
  #isGone = false;
  /** It has served a request. */
  used = false;
  /** Rounds of the client's clock since the last byte, or, when it is idle, since the last answer. */
  quietRounds = 0;
  /** Seconds after which the server closes it when it is not used, as far as it says so. */
  keptSeconds: number | undefined;

  /** `freed`: it waits for another request; `gone`: it ended. */
  constructor(
    origin: Origin,
    scratch: Buffer,
    freed: (connection: Connection) => void,
    gone: (connection: Connection) => void,
  ) {
    this.#origin = origin;
    this.#freed = freed;
    this.#gone = gone;
    this.receiver = {
      place: () => {
        const place = this.#reader?.place;
        this.#direct = place !== undefined;
        return place ?? scratch;
      },
      placed: (count) => this.#received(this.#direct ? count : scratch.subarray(0, count)),
      data: (bytes) => this.#received(bytes),
    };
  }

  get isBusy(): boolean {
    return this.#exchange !== undefined;
  }

  /** See HttpRequest. */
  get patienceMs(): number {
    return this.#exchange?.request.patienceMs ?? 0;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** The socket that `receiver` was given to. */
  attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('error', (error) => {
      // After the end of TLS some servers cut off without a word; only within an answer that means anything.
      this.#end(this.#exchange === undefined ? undefined : this.#troubleOf(error));
    });
    socket.on('end', () => this.#ended());
    socket.on('close', () => this.#ended());
  }

  /** Sends a request; one at a time. */
  run(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#reader = new AnswerReader(exchange.request);
    this.#written = false;
    this.quietRounds = 0;
    exchange.request.onSent?.();
    this.#write(exchange);
  }

  /** Ends it. What is under way fails with `error`. */
  destroy(error?: HttpError): void {
    this.#end(error);
  }

  #write({ request: { body }, head }: Exchange): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    const exchange = this.#exchange;
    const done = (): void => {
      if (this.#exchange !== exchange) return;
      this.#written = true;
      this.quietRounds = 0;
    };
    if (body === undefined || body.length === 0) {
      socket.write(head.text, head.encoding, done);
      return;
    }
    socket.cork();
    socket.write(head.text, head.encoding);
    this.#writeSlice(socket, body, 0, 0, done);
    socket.uncork();
  }

  /** Writes what begins at `offset` of buffer `index`, and when that has been taken, the rest. */
  #writeSlice(socket: Socket, body: readonly Buffer[], index: number, offset: number, done: () => void): void {
    const exchange = this.#exchange;
    let room = this.#origin.tls ? SLICE.tls : SLICE.plain;
    let [at, from] = [index, offset];
    const pieces: Buffer[] = [];
    for (let buffer = body[at]; buffer !== undefined && room > 0; buffer = body[at]) {
      const piece = from === 0 && buffer.length <= room ? buffer : buffer.subarray(from, from + room);
      if (piece.length > 0) pieces.push(piece);
      room -= piece.length;
      from += piece.length;
      if (from < buffer.length) break;
      [at, from] = [at + 1, 0];
    }
    const next = (): void => {
      if (this.#exchange !== exchange) return;
      this.quietRounds = 0;
      if (at >= body.length) done();
      else this.#writeSlice(socket, body, at, from, done);
    };
    const last = pieces.pop();
    if (last === undefined) {
      next();
      return;
    }
    socket.cork();
    for (const piece of pieces) socket.write(piece);
    socket.write(last, next);
    socket.uncork();
  }

  /** Bytes that lie somewhere, or how many lie in their place. */
  #received(bytes: Buffer | number): void {
    if (this.#isGone) return;
    this.quietRounds = 0;
    const reader = this.#reader;
    // Words without a question, such as 408: whatever comes next on this connection belongs to nobody.
    if (reader === undefined) {
      this.#end(undefined);
      return;
    }
    try {
      if (typeof bytes === 'number') reader.placed(bytes);
      else reader.take(bytes);
      if (reader.isDone) this.#answered(reader);
    } catch (error) {
      this.#end(
        error instanceof HttpError ? this.#asSent(error) : new HttpError('ended', String(error), { cause: error }),
      );
    }
  }

  #answered(reader: AnswerReader): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#reader = undefined;
    this.used = true;
    this.keptSeconds = reader.keptSeconds;
    // An answer before the whole request was sent: the rest would be taken for the next one.
    const isFree = reader.keepAlive && this.#written && !this.#isGone;
    if (!isFree) this.#end(undefined);
    exchange?.answered(reader.answer);
    if (isFree) this.#freed(this);
  }

  /** The other side sends no more. */
  #ended(): void {
    const reader = this.#reader;
    if (reader?.end()) this.#answered(reader);
    else this.#end(reader && this.#asSent(reader.missing));
  }

  #troubleOf(error: unknown): HttpError {
    const reader = this.#reader;
    if (reader?.isInBody) return this.#asSent(reader.missing, error);
    return this.#asSent(troubleOf(error, this.#origin.key, this.#origin));
  }

  #asSent(error: HttpError, cause?: unknown): HttpError {
    return new HttpError(error.trouble, error.message, { sent: true, cause: cause ?? error.cause });
  }

  #end(error: HttpError | undefined): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const [exchange, reader] = [this.#exchange, this.#reader];
    this.#exchange = undefined;
    this.#reader = undefined;
    this.#socket?.destroy();
    this.#gone(this);
    const why = error ?? new HttpError('closed', 'the connection was closed', { sent: true });
    exchange?.failed(why, reader?.begun === false);
  }
}
