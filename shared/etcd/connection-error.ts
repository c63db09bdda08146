import { EtcdError } from './wire.ts';

/** Codes of Node for a server's certificate that does not stand up to the check. */
const BAD_CERTIFICATE = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_CERT_|INVALID_CA)/;

interface Details {
  readonly code: string;
  readonly message: string;
  /** OpenSSL's own words, without its file names and numbers. */
  readonly reason: string;
}

const detailsOf = (cause: unknown): Details => {
  // Several addresses of one name fail as one AggregateError without a text of its own.
  const first: unknown = cause instanceof AggregateError && cause.errors.length > 0 ? cause.errors[0] : cause;
  if (!(first instanceof Error)) return { code: '', message: String(first), reason: String(first) };
  const { code = '', reason = first.message } = first as { readonly code?: unknown; readonly reason?: unknown };
  // Behind the semicolon stands advice on how to start Node.
  return { code: String(code), message: first.message.split(';')[0] ?? '', reason: String(reason) };
};

/** A connection that failed, in words that say what to look at. */
export const connectionError = (endpoint: URL, cause: unknown): EtcdError => {
  if (cause instanceof EtcdError) return cause;
  const { code, message, reason } = detailsOf(cause);
  const explained = ((): string => {
    if (BAD_CERTIFICATE.test(code))
      return `its certificate is not accepted: ${message} (is the CA file the right one?)`;
    if (code.startsWith('ERR_SSL_') && /alert/.test(reason)) {
      return `it refuses the connection: ${reason} (is the client certificate the right one?)`;
    }
    if (code.startsWith('ERR_SSL_')) return `it does not speak TLS: ${reason} (is it http://?)`;
    if (code === 'ECONNRESET' && endpoint.protocol === 'http:') return `${message} (is it https://?)`;
    return message;
  })();
  return new EtcdError('unreachable', `${endpoint.origin}: ${explained}`, cause);
};

/** Files that TLS cannot use: not PEM, or a key that is not the certificate's. */
export const badTlsFiles = (cause: unknown): EtcdError =>
  new EtcdError('auth', `its CA, certificate and key files cannot be used: ${detailsOf(cause).reason}`, cause);
