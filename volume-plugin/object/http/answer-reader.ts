import { type ReadHead, readHead } from './head.ts';
import { HttpError } from './http-error.ts';
import type { HttpAnswer, HttpRequest } from './message.ts';

/** Bytes of a head, or of a line between chunks. */
const LONGEST_HEAD = 32 * 1024;
const LONGEST_LINE = 1024;
const LONGEST_BODY = 64 * 1024 * 1024;
const MOST_PROVISIONAL = 20;
const HEAD_END = Buffer.from('\r\n\r\n');
const LF = 10;

type State = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer' | 'until-end' | 'done';
const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Makes an answer of the bytes of a connection. Bodies of a known length are read straight to where they belong: the
 * connection asks `place` where to read to. Errors of all methods: HttpError `garbage`, `too-large`, `truncated`.
 */
export class AnswerReader {
  readonly #request: HttpRequest;
  readonly #longest: number;
  #state: State = 'head';
  /** Of a head or a line, what came before this read. */
  #pending: Buffer = NOTHING;
  #head: ReadHead | undefined;
  #body: Buffer = NOTHING;
  /** `into` gave it: it does not grow. */
  #given = false;
  #filled = 0;
  /** Bytes until the end of the body or the chunk. */
  #left = 0;
  /** Bytes of fields after the last chunk. */
  #trailer = 0;
  #provisional = 0;
  #surplus = false;

  constructor(request: HttpRequest) {
    this.#request = request;
    this.#longest = request.longest ?? LONGEST_BODY;
  }

  /** Anything of an answer came, be it a provisional one. */
  begun = false;

  get isDone(): boolean {
    return this.#state === 'done';
  }

  get isInBody(): boolean {
    return this.#head !== undefined;
  }

  /** After the end: the connection may be used again. */
  get keepAlive(): boolean {
    return this.#state === 'done' && !this.#surplus && this.#head?.keepAlive === true;
  }

  /** Seconds after which the server closes the unused connection, when it says so. */
  get keptSeconds(): number | undefined {
    const said = /timeout=(\d{1,6})/i.exec(this.#head?.headers.get('keep-alive') ?? '')?.[1];
    return said === undefined ? undefined : Number(said);
  }

  /** Where the next bytes are to be read to; undefined: anywhere. */
  get place(): Buffer | undefined {
    return this.#state === 'length' ? this.#body.subarray(this.#filled, this.#filled + this.#left) : undefined;
  }

  /** The answer, once it is done. */
  get answer(): HttpAnswer {
    const head = this.#head;
    if (head === undefined || this.#state !== 'done') throw new HttpError('closed', 'there is no answer yet');
    const body = this.#body.length === this.#filled ? this.#body : this.#body.subarray(0, this.#filled);
    return { status: head.status, headers: head.headers, length: head.length, body };
  }

  /** `bytes` were read to `place`. */
  placed(bytes: number): void {
    this.#filled += bytes;
    this.#left -= bytes;
    if (this.#left === 0) this.#state = 'done';
  }

  /** Bytes that were read anywhere; they may change after the call. */
  take(data: Buffer): void {
    this.begun = true;
    for (let at = 0; at < data.length; ) {
      if (this.#state === 'done') {
        this.#surplus = true;
        return;
      }
      at = this.#step(data, at);
    }
  }

  /** The connection ended. True when that is the end of the body. */
  end(): boolean {
    if (this.#state === 'done') return true;
    if (this.#state === 'until-end') {
      this.#state = 'done';
      this.#surplus = true;
      return true;
    }
    return false;
  }

  /** Why an end of the connection now is an error. */
  get missing(): HttpError {
    if (this.#head === undefined) return new HttpError('closed', 'the connection ended before the answer');
    const { length } = this.#head;
    const all = length === undefined ? '' : ` of ${length}`;
    return new HttpError('truncated', `the connection ended after ${this.#filled}${all} bytes of the answer`);
  }

  /** Handles what begins at `at` and answers where the rest begins. */
  #step(data: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#takeHead(data, at);
      case 'length':
        return this.#copy(data, at, this.#left, 'done');
      case 'chunk':
        return this.#copy(data, at, this.#left, 'chunk-end');
      case 'until-end':
        return this.#copy(data, at, data.length - at, 'until-end');
      default:
        return this.#takeLine(data, at);
    }
  }

  #takeHead(data: Buffer, at: number): number {
    const before = this.#pending.length;
    const all =
      before === 0 ? (at === 0 ? data : data.subarray(at)) : Buffer.concat([this.#pending, data.subarray(at)]);
    const end = all.indexOf(HEAD_END, Math.max(0, before - 3));
    if (end < 0 ? all.length > LONGEST_HEAD : end > LONGEST_HEAD) {
      throw new HttpError('too-large', `the answer's head has more than ${LONGEST_HEAD} bytes`);
    }
    if (end < 0) {
      // What is no answer shall not be waited for.
      if (all.length >= 7 && !all.subarray(0, 7).equals(START)) readHead(all.toString('latin1', 0, 40), false);
      this.#pending = before === 0 ? Buffer.from(all) : all;
      return data.length;
    }
    this.#pending = NOTHING;
    const head = readHead(all.toString('utf8', 0, end), this.#request.method === 'HEAD');
    // 100 Continue, 103 Early Hints: the answer proper comes after them.
    this.#provisional += 1;
    if (head.status >= 200) this.#begin(head);
    else if (head.status === 101 || this.#provisional > MOST_PROVISIONAL) {
      throw new HttpError('garbage', `no answer follows status ${head.status}`);
    }
    return at + end + HEAD_END.length - before;
  }

  #begin(head: ReadHead): void {
    const { length } = head;
    if ((length ?? 0) > this.#longest) {
      throw new HttpError('too-large', `the answer has ${length} bytes, more than ${this.#longest}`);
    }
    if (length === undefined && !head.chunked && head.status < 300) {
      // Nobody could tell such a body from one that was cut off.
      throw new HttpError('garbage', 'the answer does not say how long it is');
    }
    this.#head = head;
    this.#request.onHead?.(head);
    if (length === 0) {
      this.#state = 'done';
      return;
    }
    const given = this.#request.into?.(head);
    this.#given = given !== undefined;
    // Not from the pool of small buffers: a slice of that would keep all of it.
    this.#body = given ?? (length === undefined ? NOTHING : Buffer.allocUnsafeSlow(length));
    if (length !== undefined) {
      if (this.#body.length < length) throw this.#tooSmall(length);
      this.#left = length;
      this.#state = 'length';
    } else {
      this.#state = head.chunked ? 'chunk-size' : 'until-end';
    }
  }

  /** Copies up to `count` bytes to the body; when that many were there, `next` is the state. */
  #copy(data: Buffer, at: number, count: number, next: State): number {
    const end = Math.min(data.length, at + count);
    if (this.#state !== 'length') this.#makeRoom(end - at);
    data.copy(this.#body, this.#filled, at, end);
    this.#filled += end - at;
    this.#left = count - (end - at);
    if (this.#left === 0) this.#state = next;
    return end;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#filled + bytes;
    if (needed <= this.#body.length) return;
    if (this.#given) throw this.#tooSmall(needed);
    if (needed > this.#longest) {
      throw new HttpError('too-large', `the answer has more than ${this.#longest} bytes`);
    }
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(this.#longest, 2 * this.#body.length)));
    this.#body.copy(grown, 0, 0, this.#filled);
    this.#body = grown;
  }

  #tooSmall(needed: number): HttpError {
    return new HttpError('too-large', `the answer has ${needed} bytes, and room is for ${this.#body.length}`);
  }

  /** The lines around chunks, which may come in pieces. */
  #takeLine(data: Buffer, at: number): number {
    const lf = data.indexOf(LF, at);
    const end = lf < 0 ? data.length : lf + 1;
    const piece = data.subarray(at, end);
    const line = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    if (this.#state === 'trailer') this.#trailer += piece.length;
    if (line.length > LONGEST_LINE || this.#trailer > LONGEST_HEAD) {
      throw new HttpError('garbage', 'a line between chunks is too long');
    }
    if (lf < 0) {
      this.#pending = Buffer.from(line);
      return end;
    }
    this.#pending = NOTHING;
    const text = line.toString('latin1', 0, line.length - 1).replace(/\r$/, '');
    if (this.#state === 'chunk-size') this.#beginChunk(text);
    else if (this.#state === 'trailer') this.#state = text === '' ? 'done' : 'trailer';
    else if (text === '') this.#state = 'chunk-size';
    else throw new HttpError('garbage', 'a chunk is longer than it says');
    return end;
  }

  #beginChunk(text: string): void {
    const digits = /^([0-9a-f]{1,12})[ \t]*(;.*)?$/i.exec(text)?.[1];
    if (digits === undefined) throw new HttpError('garbage', 'a chunk does not say how long it is');
    this.#left = Number.parseInt(digits, 16);
    if (this.#filled + this.#left > this.#longest) {
      throw new HttpError('too-large', `the answer has more than ${this.#longest} bytes`);
    }
    this.#state = this.#left === 0 ? 'trailer' : 'chunk';
  }
}

const START = Buffer.from('HTTP/1.');
