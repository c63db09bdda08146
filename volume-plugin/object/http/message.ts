/** Where a client connects to. Equal ones (by `key`) share connections. */
export interface Origin {
  readonly tls: boolean;
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** `https://host:port`, always with the port. */
  readonly key: string;
  /** As in the header Host: without the port when it is the scheme's own; IPv6 in brackets. */
  readonly authority: string;
}

/** Header fields by lower-case name; values are text (UTF-8 on the wire) without line ends. */
export type HttpHeaders = Readonly<Record<string, string>>;

/** What is known of an answer before its body comes. */
export interface HttpHead {
  readonly status: number;
  /** Fields that come more than once are joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of the body, when the answer says so; 0 for answers that have none by their nature (HEAD, 204, 304). */
  readonly length: number | undefined;
}

export interface HttpRequest {
  readonly method: string;
  /** Path and query as they go over the wire, encoded: nothing is added, normalised or decoded. */
  readonly target: string;
  /** `host` is added when it is not there, `content-length` always. */
  readonly headers: HttpHeaders;
  readonly body?: readonly Buffer[];
  /** May be sent again when a kept connection dies before any byte of the answer: usually what is idempotent. */
  readonly repeatable?: boolean;
  /**
   * Where the body of the answer goes: asked once, when the head is there. The bytes are read straight into it; it has
   * to be large enough (`head.length`, or what is expected of chunks), else `too-large`. Undefined: a new buffer.
   */
  readonly into?: (head: HttpHead) => Buffer | undefined;
  /** Silence that is borne while the answer is awaited, milliseconds, when that is more than the client's usual. */
  readonly patienceMs?: number;
  /** Bytes of the body that are taken at most, usually 64 MiB: more is `too-large`. */
  readonly longest?: number;
  /**
   * Called when the request has a connection and begins to be sent: until then it has waited here. Called twice when a
   * kept connection was dead and it is sent again: whether the first was carried out is open.
   */
  readonly onSent?: () => void;
  /** Called when the head of the (final) answer is there, before `into`. */
  readonly onHead?: (head: HttpHead) => void;
}

export interface HttpAnswer extends HttpHead {
  /** The whole body; a view of what `into` gave. */
  readonly body: Buffer;
}
