/** What object servers are asked and answer: bodies are lists of buffers, which are never joined. */

export interface ObjectRequest {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly target: string;
  /** The path alone, as it was sent. */
  readonly path: string;
  /** Decoded, in the order in which they came; a bare word has the value ''. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** By lower-case name; of fields that come twice the values are joined by `,`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: readonly Buffer[];
  /** Address of the caller; IPv4 without `::ffff:`. */
  readonly source: string;
  readonly tls: boolean;
  /** Fires when the caller has gone. */
  readonly gone: AbortSignal;
}

/** Instead of the answer as it is. */
export type Spoiling =
  /** The connection ends after so many bytes of the body, of which the head promises all. */
  | { readonly kind: 'truncate'; readonly after: number }
  /** One bit of the body is another. */
  | { readonly kind: 'corrupt' }
  /** RST, after so many bytes of the body if given, else in the place of the head. */
  | { readonly kind: 'reset'; readonly after?: number };

export interface ObjectReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: readonly Buffer[];
  /** Of HEAD: what Content-Length says though no body comes. */
  readonly promised?: number;
  readonly spoiling?: Spoiling;
}

/** Answers a request; `undefined` ends the connection without an answer. */
export type ObjectHandler = (request: ObjectRequest) => Promise<ObjectReply | undefined>;

export const sizeOf = (body: readonly Buffer[]): number => body.reduce((sum, part) => sum + part.length, 0);

/** The bytes from `offset` on, without copying. */
export function sliceOf(body: readonly Buffer[], offset: number, length: number): Buffer[] {
  const slices: Buffer[] = [];
  let at = 0;
  for (const part of body) {
    const begin = Math.max(0, offset - at);
    const end = Math.min(part.length, offset + length - at);
    if (begin < end) slices.push(begin === 0 && end === part.length ? part : part.subarray(begin, end));
    at += part.length;
    if (at >= offset + length) break;
  }
  return slices;
}

/** A value of the query; undefined when it is not there. */
export const queried = (request: ObjectRequest, name: string): string | undefined =>
  request.query.find(([each]) => each === name)?.[1];
