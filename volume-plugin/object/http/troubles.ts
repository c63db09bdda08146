import { codeOf } from '../../../shared/error-code.ts';
import { HttpError, type HttpTrouble } from './http-error.ts';
import type { Origin } from './message.ts';

const BY_CODE: Readonly<Record<string, HttpTrouble>> = {
  ENOTFOUND: 'unresolved',
  EAI_AGAIN: 'unresolved',
  EAI_NONAME: 'unresolved',
  ECONNREFUSED: 'refused',
  ECONNRESET: 'closed',
  EPIPE: 'closed',
};
const UNKNOWN_AUTHORITY = 'its certificate was issued by an authority that this host does not know';
/** What is wrong with certificates, in the words of OpenSSL and Node; `at`: this host's clock. */
const CERTIFICATES: Readonly<Record<string, (at: string) => string>> = {
  CERT_HAS_EXPIRED: (at) => `its certificate has expired (it is ${at} here)`,
  CERT_NOT_YET_VALID: (at) => `its certificate is not valid yet (it is ${at} here)`,
  DEPTH_ZERO_SELF_SIGNED_CERT: () => 'its certificate is signed by itself, and is none of those that this host knows',
  SELF_SIGNED_CERT_IN_CHAIN: () => UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: () => UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: () => UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: () => UNKNOWN_AUTHORITY,
  CERT_SIGNATURE_FAILURE: () => 'its certificate was not signed by the authority that it names',
  CERT_REVOKED: () => 'its certificate was revoked',
  CERT_UNTRUSTED: () => UNKNOWN_AUTHORITY,
  INVALID_CA: () => 'its certificate was issued by one that is no authority',
  INVALID_PURPOSE: () => 'its certificate is not for servers',
};
/** So much of the names of a certificate is told. */
const NAMES_MAX = 120;

/** The names that a certificate is for. */
const namesOf = (error: unknown): string => {
  const cert = typeof error === 'object' && error !== null && 'cert' in error ? error.cert : undefined;
  const names =
    typeof cert === 'object' && cert !== null && 'subjectaltname' in cert ? String(cert.subjectaltname ?? '') : '';
  const plain = names.replace(/\b(DNS|IP Address):/g, '');
  if (plain === '') return 'no name that counts';
  return plain.length > NAMES_MAX ? `${plain.slice(0, NAMES_MAX)}…` : plain;
};

/** What is wrong with a server's certificate; undefined: something else is wrong. */
const certificateTrouble = (error: unknown, code: string, origin: Origin): string | undefined => {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is for ${namesOf(error)}, not for ${origin.host}`;
  return CERTIFICATES[code]?.(new Date().toISOString().slice(0, 10));
};

const OF_TLS =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|EPROTO|HOSTNAME_MISMATCH|INVALID_CA)/;

/** The words of Node and of the system, as a trouble. `where`: what was connected to. */
export const troubleOf = (error: unknown, where: string, origin: Origin): HttpError => {
  // Of several addresses each has an error of its own.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const code = codeOf(first) ?? codeOf(error) ?? '';
  const wrong = certificateTrouble(first, code, origin);
  if (wrong !== undefined) return new HttpError('certificate', `${origin.key}: ${wrong}`, { cause: error });
  const trouble = BY_CODE[code] ?? (OF_TLS.test(code) ? 'tls' : 'unreachable');
  return new HttpError(trouble, sentenceOf(trouble, first, code, where, origin), { cause: error });
};

const sentenceOf = (trouble: HttpTrouble, error: unknown, code: string, where: string, origin: Origin): string => {
  const message = error instanceof Error ? error.message : String(error);
  switch (trouble) {
    case 'unresolved':
      return `${where}: the name cannot be resolved (${code})`;
    case 'refused':
      return `${where} refuses connections`;
    case 'closed':
      return `${where} cut the connection off`;
    case 'tls':
      // Behind a semicolon Node gives advice to developers.
      return `TLS with ${origin.key} fails: ${message.split(/[;\n]/)[0]}`;
    default:
      return `${where} cannot be reached (${code === '' ? message : code})`;
  }
};
