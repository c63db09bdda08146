/** Checks Signature Version 4 the way the service does: from the request as it came, with the secret that it knows. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { HttpRequest } from '../core/http.ts';

/** What the Authorization header says. */
export interface Signed {
  readonly accessKeyId: string;
  /** `20260131` */
  readonly day: string;
  readonly region: string;
  readonly service: string;
  readonly headers: readonly string[];
  readonly signature: string;
  /** Milliseconds since 1970; NaN when the date cannot be read. */
  readonly date: number;
}

const HEADER =
  /^AWS4-HMAC-SHA256 +Credential=([^/, ]+)\/(\d{8})\/([^/, ]*)\/([^/, ]*)\/aws4_request, *SignedHeaders=([^, ]+), *Signature=([0-9a-f]{64})$/;

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

/** Undefined when the request is not signed, or not in a way that can be read. */
export function readSignature(request: HttpRequest): Signed | undefined {
  const match = HEADER.exec(request.headers.authorization ?? '');
  if (match === null) return undefined;
  const [, accessKeyId = '', day = '', region = '', service = '', headers = '', signature = ''] = match;
  const stamp = String(request.headers['x-amz-date'] ?? '');
  const iso = stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  return { accessKeyId, day, region, service, headers: headers.split(';'), signature, date: Date.parse(iso) };
}

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

const canonicalRequest = (request: HttpRequest, headers: readonly string[]): string => {
  const query = [...request.query]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const lines = headers.map(
    (name) =>
      `${name}:${String(request.headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}`,
  );
  // What is encoded in the path is encoded once more, by all services but S3.
  const path = request.path.split('/').map(encode).join('/');
  return [request.method, path, query, ...lines, '', headers.join(';'), sha256(request.body)].join('\n');
};

/** True when `secret` made the signature, over the host, the date and the session token at least. */
export function signatureFits(request: HttpRequest, signed: Signed, secret: string): boolean {
  const { day, region, service, headers } = signed;
  const stamp = String(request.headers['x-amz-date'] ?? '');
  if (!headers.includes('host') || !headers.includes('x-amz-date') || !stamp.startsWith(day)) return false;
  if (request.headers['x-amz-security-token'] !== undefined && !headers.includes('x-amz-security-token')) return false;
  const scope = `${day}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonicalRequest(request, headers))].join('\n');
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`);
  return timingSafeEqual(hmac(key, text), Buffer.from(signed.signature, 'hex'));
}
