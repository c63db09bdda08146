/** How a request failed without an answer. */
export type HttpTrouble =
  | 'unresolved' // no address of that name
  | 'refused' // nobody listens there
  | 'unreachable' // no way there, or no connection in time
  | 'certificate' // it is not trusted, not valid now, or for another name
  | 'tls' // it is no TLS, or there is nothing to check certificates by
  | 'proxy' // the proxy refuses, cannot be reached, or is none
  | 'closed' // the connection ended before the whole head of the answer
  | 'truncated' // it ended within the body
  | 'silent' // nothing came (or nothing was taken) for too long
  | 'garbage' // no answer of HTTP/1.1
  | 'too-large' // more head or body than we take
  | 'unsendable' // the request has characters that would break it
  | 'ended'; // the caller's context ended

/** A request without an answer. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly trouble: HttpTrouble;
  /** Bytes of the request may have left this host: of a write the outcome is open. */
  readonly sent: boolean;

  constructor(trouble: HttpTrouble, text: string, more: { readonly sent?: boolean; readonly cause?: unknown } = {}) {
    super(text, more.cause === undefined ? undefined : { cause: more.cause });
    this.trouble = trouble;
    this.sent = more.sent ?? false;
  }
}
