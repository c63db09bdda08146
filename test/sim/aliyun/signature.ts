/**
 * The two ways in which RPC requests are signed: V1 (HMAC-SHA1 over the sorted parameters, everything in query or form)
 * and V3 (`Authorization: ACS3-HMAC-SHA256 …` over a canonical request, who and when in `x-acs-*` headers).
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { HttpRequest } from '../core/http.ts';

/** A request taken apart; nothing is checked yet. */
export interface Signed {
  readonly style: 'V1' | 'V3';
  readonly action: string;
  readonly version: string;
  /** Query and form together, as sent. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly keyId: string;
  readonly token: string;
  readonly nonce: string;
  readonly timestamp: string;
  /** V1 alone: what the answer is to be written in. V3 answers JSON. */
  readonly format: string;
  /** The server's sentence when the signature is not that of `secret`. */
  mismatch(secret: string): string | undefined;
}

/** As the vendor's documents ask for: RFC 3986, everything but letters, digits and `-_.~`. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);

const sorted = (parameters: Readonly<Record<string, string>>): string =>
  Object.keys(parameters)
    .sort()
    .map((name) => `${encode(name)}=${encode(parameters[name] ?? '')}`)
    .join('&');

const same = (given: string, wanted: string): boolean => {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
};

const header = (request: HttpRequest, name: string): string => {
  const value = request.headers[name];
  return (Array.isArray(value) ? value.join(',') : (value ?? '')).trim();
};

const formOf = (request: HttpRequest): Record<string, string> =>
  header(request, 'content-type').startsWith('application/x-www-form-urlencoded')
    ? Object.fromEntries(new URLSearchParams(request.body.toString('utf8')))
    : {};

const readV1 = (request: HttpRequest, parameters: Record<string, string>): Signed => ({
  style: 'V1',
  action: parameters.Action ?? '',
  version: parameters.Version ?? '',
  parameters,
  keyId: parameters.AccessKeyId ?? '',
  token: parameters.SecurityToken ?? '',
  nonce: parameters.SignatureNonce ?? '',
  timestamp: parameters.Timestamp ?? '',
  format: parameters.Format ?? 'XML',
  mismatch: (secret) => {
    const { Signature: given = '', ...rest } = parameters;
    const text = `${request.method}&${encode('/')}&${encode(sorted(rest))}`;
    const wanted = createHmac('sha1', `${secret}&`).update(text).digest('base64');
    const method = rest.SignatureMethod === 'HMAC-SHA1' && rest.SignatureVersion === '1.0';
    if (method && same(given, wanted)) return undefined;
    return `Specified signature is not matched with our calculation. server string to sign is:${text}`;
  },
});

const AUTHORIZATION = /^ACS3-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]+)$/;

const readV3 = (request: HttpRequest, parameters: Record<string, string>): Signed => {
  const [, keyId = '', names = '', given = ''] = AUTHORIZATION.exec(header(request, 'authorization')) ?? [];
  const signed = names.split(';');
  const mismatch = (secret: string): string | undefined => {
    const payload = createHash('sha256').update(request.body).digest('hex');
    const headers = signed.map((name) => `${name}:${header(request, name)}\n`).join('');
    const query = sorted(Object.fromEntries(request.query));
    const canonical = [request.method, request.path, query, headers, names, payload].join('\n');
    const text = `ACS3-HMAC-SHA256\n${createHash('sha256').update(canonical).digest('hex')}`;
    const wanted = createHmac('sha256', secret).update(text).digest('hex');
    // Whatever says who, what and when has to be signed, or it could be changed on the way.
    const sent = Object.keys(request.headers).filter((name) => name.startsWith('x-acs-') || name === 'content-type');
    const unsigned = ['host', 'x-acs-content-sha256', ...sent].filter((name) => !signed.includes(name));
    const ordered = [...signed].sort().join(';') === names;
    const whole = header(request, 'x-acs-content-sha256') === payload;
    if (unsigned.length === 0 && ordered && whole && same(given, wanted)) return undefined;
    return `Specified signature does not match our calculation. server StringToSign is [${text}], server CanonicalRequest is [${canonical}]`;
  };
  return {
    style: 'V3',
    action: header(request, 'x-acs-action'),
    version: header(request, 'x-acs-version'),
    parameters,
    keyId,
    token: header(request, 'x-acs-security-token'),
    nonce: header(request, 'x-acs-signature-nonce'),
    timestamp: header(request, 'x-acs-date'),
    format: 'JSON',
    mismatch,
  };
};

/** Reads a request of either style. */
export function readSigned(request: HttpRequest): Signed {
  const parameters = { ...Object.fromEntries(request.query), ...formOf(request) };
  return header(request, 'authorization').startsWith('ACS3-')
    ? readV3(request, parameters)
    : readV1(request, parameters);
}
