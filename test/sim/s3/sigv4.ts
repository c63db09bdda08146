/** Signature Version 4 as S3 checks it, and the coding of bodies that goes with it. */
import type { Clock } from '../core/clock.ts';
import type { Credential, Credentials } from '../core/credentials.ts';
import { hashOf } from '../objects/checksums.ts';
import type { ObjectCall } from '../objects/service.ts';
import { readChunks } from './chunked.ts';
import { encode, equal, hmac, sha256 } from './digests.ts';
import { refuse } from './errors.ts';

const HEADER =
  /^AWS4-HMAC-SHA256 +Credential=([^,\s]+)\/(\d{8})\/([^/,\s]*)\/([^/,\s]*)\/aws4_request, ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{64})$/;
const MOST_SKEW_MS = 15 * 60_000;

const decodePath = (path: string): string => {
  try {
    return decodeURIComponent(path);
  } catch {
    throw refuse('InvalidArgument', `Couldn't parse the specified URI.`);
  }
};

/** S3 encodes once, whatever the client has sent. */
const canonicalRequest = (call: ObjectCall, signed: readonly string[], payload: string): string => {
  const { method, path, query, headers } = call.request;
  const sorted = query
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const lines = signed.map((name) => `${name}:${(headers[name] ?? '').replace(/ +/g, ' ')}`);
  const uri = decodePath(path).split('/').map(encode).join('/');
  return [method, uri, sorted, ...lines, '', signed.join(';'), payload].join('\n');
};

const keys = new Map<string, Buffer>();

const signingKey = (secret: string, day: string, region: string): Buffer => {
  const name = `${secret} ${day} ${region}`;
  const known = keys.get(name);
  if (known !== undefined) return known;
  const made = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`) as Buffer;
  if (keys.size > 1000) keys.clear();
  keys.set(name, made);
  return made;
};

const dateOf = (call: ObjectCall): { stamp: string; date: number } => {
  const { headers } = call.request;
  const stamp = headers['x-amz-date'] ?? '';
  const iso = stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const date = Date.parse(iso);
  if (Number.isNaN(date)) {
    throw refuse('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  return { stamp, date };
};

/** Headers that have to be under the signature. */
const mustBeSigned = (name: string): boolean => name === 'host' || name.startsWith('x-amz-') || name === 'content-md5';

/** What `authenticate` has to know. */
export interface Authority {
  readonly clock: Clock;
  readonly credentials: Credentials;
  /** The region that a request for this bucket has to be signed for. */
  regionOf(bucket: string): string;
}

/**
 * Who signed the request. Checks signature, date, token and body; takes the coding `aws-chunked` off the body. Undefined:
 * the request is not signed. Throws Refusal.
 */
export function authenticate(call: ObjectCall, authority: Authority): Credential | undefined {
  const { headers } = call.request;
  const { clock, credentials } = authority;
  const authorization = headers['authorization'];
  if (authorization === undefined) return undefined;
  const match = HEADER.exec(authorization);
  if (match === null) throw refuse('AuthorizationHeaderMalformed');
  const [, id = '', day = '', region = '', service = '', names = '', signature = ''] = match;
  const credential = credentials.find(id);
  if (credential === undefined) throw refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: id });
  const { stamp, date } = dateOf(call);
  if (!stamp.startsWith(day)) {
    throw refuse(
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; Invalid credential date "${day}". This date is not the same as X-Amz-Date: "${stamp.slice(0, 8)}".`,
    );
  }
  if (service !== 's3') {
    throw refuse(
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; incorrect service "${service}". This endpoint belongs to "s3".`,
    );
  }
  const expected = authority.regionOf(call.bucket);
  if (region !== expected) {
    throw refuse(
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${expected}'`,
      { Region: expected },
      { 'x-amz-bucket-region': expected },
    );
  }
  const now = clock.now();
  if (Math.abs(now - date) > MOST_SKEW_MS) {
    throw refuse('RequestTimeTooSkewed', undefined, {
      RequestTime: stamp,
      ServerTime: new Date(now).toISOString().replace(/\.\d+Z$/, 'Z'),
      MaxAllowedSkewMilliseconds: String(MOST_SKEW_MS),
    });
  }
  checkToken(credential, headers['x-amz-security-token'], credentials);
  const signed = names.split(';');
  const unsigned = Object.keys(headers).filter((name) => mustBeSigned(name) && !signed.includes(name));
  if (unsigned.length > 0 || signed.some((name, n) => n > 0 && name <= (signed[n - 1] ?? ''))) {
    throw refuse('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.join(', '),
    });
  }
  const payload = headers['x-amz-content-sha256'];
  if (payload === undefined) {
    throw refuse('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  const scope = `${day}/${region}/s3/aws4_request`;
  const canonical = canonicalRequest(call, signed, payload);
  const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n');
  const key = signingKey(credential.secret, day, region);
  if (!equal(hmac(key, text).toString('hex'), signature)) {
    throw refuse('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: id,
      StringToSign: text,
      SignatureProvided: signature,
      CanonicalRequest: canonical,
    });
  }
  if (payload.startsWith('STREAMING-')) call.body = readChunks(call, payload, { key, stamp, scope, seed: signature });
  else checkPayload(call, payload);
  return credential;
}

const checkToken = (credential: Credential, token: string | undefined, credentials: Credentials): void => {
  if (credential.token === undefined ? token !== undefined : credential.token !== token) {
    throw token === undefined
      ? refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: credential.id })
      : refuse('InvalidToken', undefined, { 'Token-0': token });
  }
  if (credentials.expired(credential)) throw refuse('ExpiredToken', undefined, { 'Token-0': token ?? '' });
};

const checkPayload = (call: ObjectCall, payload: string): void => {
  if (payload === 'UNSIGNED-PAYLOAD') return;
  if (!/^[0-9a-f]{64}$/.test(payload)) {
    throw refuse(
      'InvalidArgument',
      'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
      { ArgumentName: 'x-amz-content-sha256', ArgumentValue: payload },
    );
  }
  const computed = hashOf('sha256', call.body).toString('hex');
  if (computed !== payload) {
    throw refuse('XAmzContentSHA256Mismatch', undefined, {
      ClientComputedContentSHA256: payload,
      S3ComputedContentSHA256: computed,
    });
  }
};
