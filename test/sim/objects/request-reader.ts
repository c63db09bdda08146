/** Makes requests of the bytes of a connection. */
import type { ObjectRequest } from './message.ts';

export interface ReadRequest extends Pick<ObjectRequest, 'method' | 'target' | 'path' | 'query' | 'headers' | 'body'> {
  readonly keepAlive: boolean;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LINE_END = Buffer.from('\r\n');
const LONGEST_HEAD = 64 * 1024;
/** Smaller pieces are joined: each would keep the 64 KiB that it was read into. */
const SMALL = 16 * 1024;

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', '%20'));
  } catch {
    throw new Error(`cannot decode ${text}`);
  }
};

const queryOf = (text: string): [string, string][] =>
  text === ''
    ? []
    : text
        .split('&')
        .filter((part) => part !== '')
        .map((part) => {
          const equals = part.indexOf('=');
          return equals < 0 ? [decoded(part), ''] : [decoded(part.slice(0, equals)), decoded(part.slice(equals + 1))];
        });

interface Head extends Omit<ReadRequest, 'body'> {
  /** undefined: chunked. */
  readonly length: number | undefined;
}

const readHead = (text: string): Head => {
  const [first = '', ...lines] = text.split('\r\n');
  const [, method = '', target = '', minor] = /^([A-Z]+) (\/[^ ]*) HTTP\/1\.([01])$/.exec(first) ?? [];
  if (minor === undefined) throw new Error(`no request of HTTP/1.1: ${first.slice(0, 80)}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 1 || /[\s]$/.test(line.slice(0, colon))) throw new Error(`no header: ${line.slice(0, 80)}`);
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
  }
  if (headers['host'] === undefined) throw new Error('no header Host');
  const chunked = headers['transfer-encoding']?.toLowerCase() === 'chunked';
  const length = chunked ? undefined : Number(headers['content-length'] ?? '0');
  if (length !== undefined && !(Number.isInteger(length) && length >= 0))
    throw new Error('no number in Content-Length');
  const connection = headers['connection']?.toLowerCase() ?? '';
  const keepAlive = minor === '1' ? !connection.includes('close') : connection.includes('keep-alive');
  const question = target.indexOf('?');
  const path = question < 0 ? target : target.slice(0, question);
  return {
    method,
    target,
    path,
    query: queryOf(question < 0 ? '' : target.slice(question + 1)),
    headers,
    length,
    keepAlive,
  };
};

export class RequestReader {
  /** What is not taken apart yet. */
  #rest: Buffer = Buffer.alloc(0);
  #head: Head | undefined;
  #continues = false;
  #body: Buffer[] = [];
  #left = 0;
  /** Of a chunked body; -1: the size comes next. */
  #chunk = -1;
  readonly #complete: ReadRequest[] = [];

  get isComplete(): boolean {
    return this.#complete.length > 0;
  }

  /** The next request that is there as a whole. */
  take(): ReadRequest | undefined {
    return this.#complete.shift();
  }

  /** True once for a request that waits to be told to go on. */
  expectsContinue(): boolean {
    const wanted = this.#continues && this.#head !== undefined;
    this.#continues = false;
    return wanted;
  }

  /** Takes what was read. Throws for what is no HTTP. */
  push(data: Buffer): void {
    let rest = data;
    for (;;) {
      if (this.#head === undefined) {
        const all = this.#rest.length === 0 ? rest : Buffer.concat([this.#rest, rest]);
        const end = all.indexOf(HEAD_END);
        if (end < 0) {
          if (all.length > LONGEST_HEAD) throw new Error('the head is too long');
          this.#rest = Buffer.from(all);
          return;
        }
        this.#rest = Buffer.alloc(0);
        rest = all.subarray(end + 4);
        this.#begin(readHead(all.toString('utf8', 0, end)));
      } else if (this.#head.length === undefined) {
        const left = this.#takeChunked(this.#rest.length === 0 ? rest : Buffer.concat([this.#rest, rest]));
        if (left === undefined) return;
        rest = left;
      } else {
        if (rest.length === 0) return;
        rest = this.#takeBytes(rest);
        if (this.#left === 0) this.#finish();
      }
    }
  }

  #begin(head: Head): void {
    this.#head = head;
    this.#body = [];
    this.#left = head.length ?? 0;
    this.#chunk = -1;
    this.#continues = head.headers['expect']?.toLowerCase() === '100-continue';
    if (head.length === 0) this.#finish();
  }

  #takeBytes(data: Buffer): Buffer {
    const taken = data.length <= this.#left ? data : data.subarray(0, this.#left);
    const last = this.#body.at(-1);
    if (taken.length >= SMALL) this.#body.push(taken);
    else if (last !== undefined && last.length < SMALL)
      this.#body[this.#body.length - 1] = Buffer.concat([last, taken]);
    else this.#body.push(Buffer.from(taken));
    this.#left -= taken.length;
    return data.subarray(taken.length);
  }

  /** Answers what comes behind the body; undefined: more is needed. */
  #takeChunked(data: Buffer): Buffer | undefined {
    let rest = data;
    this.#rest = Buffer.alloc(0);
    for (;;) {
      if (this.#chunk > 0) {
        this.#left = this.#chunk;
        rest = this.#takeBytes(rest);
        this.#chunk = this.#left;
        if (this.#chunk > 0) return undefined;
        this.#chunk = -2;
      }
      const end = rest.indexOf(LINE_END);
      if (end < 0) {
        this.#rest = Buffer.from(rest);
        return undefined;
      }
      const line = rest.toString('latin1', 0, end);
      rest = rest.subarray(end + 2);
      if (this.#chunk === -2) this.#chunk = -1;
      else if (this.#chunk === 0) {
        // Trailers are left out; an empty line ends them.
        if (line !== '') continue;
        this.#finish();
        return rest;
      } else {
        if (!/^[0-9a-f]+/i.test(line)) throw new Error('no size of a chunk');
        this.#chunk = Number.parseInt(line, 16);
      }
    }
  }

  #finish(): void {
    const head = this.#head;
    if (head === undefined) return;
    const { length: _, ...rest } = head;
    this.#complete.push({ ...rest, body: this.#body });
    this.#head = undefined;
  }
}
