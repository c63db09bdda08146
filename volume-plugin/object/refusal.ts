import type { HttpAnswer } from './http/message.ts';
import type { StoreKey } from './signing.ts';

/** What a store says in an answer that is an error. */
export interface Refusal {
  readonly status: number;
  /** `<Code>` of the body, of S3 and OSS alike; '' when there is none, as in answers to HEAD. */
  readonly code: string;
  readonly message: string;
  /** Of the vendor, for its support; '' when there is none. */
  readonly requestId: string;
}

/** Bodies of errors are some hundred bytes; a page of a proxy's is not searched for long. */
const LONGEST_ERROR = 16 * 1024;

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/** The text of the first element of that name; '' when there is none. */
export const elementOf = (xml: string, name: string): string => {
  const begin = xml.indexOf(`<${name}>`);
  if (begin < 0) return '';
  const end = xml.indexOf(`</${name}>`, begin);
  if (end < 0) return '';
  return xml
    .slice(begin + name.length + 2, end)
    .replace(/&(lt|gt|amp|quot|apos);/g, (_, entity: string) => ENTITIES[entity] ?? '');
};

/** What an answer of status 300 and above says. OSS puts the body into a header when the method is HEAD. */
export const refusalOf = ({ status, headers, body }: HttpAnswer): Refusal => {
  const inHeader = headers.get('x-oss-err');
  const xml =
    inHeader === undefined
      ? body.toString('utf8', 0, Math.min(body.length, LONGEST_ERROR))
      : Buffer.from(inHeader, 'base64').toString('utf8');
  return {
    status,
    code: elementOf(xml, 'Code'),
    message: elementOf(xml, 'Message'),
    requestId: headers.get('x-amz-request-id') ?? headers.get('x-oss-request-id') ?? elementOf(xml, 'RequestId'),
  };
};

/** What to do about an answer. */
export type Verdict =
  | 'answer' // it is the result
  | 'slow' // the store wants fewer requests; nothing was done
  | 'failed' // it may do better next time; whether it did what it was asked is open
  | 'skewed' // our clock
  | 'key'; // the key ended or is not known

const SLOW = new Set([
  'SlowDown',
  'TooManyRequests',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'BandwidthLimitExceeded',
  'Throttling',
  'ThrottlingException',
  'RequestThrottled',
  'QpsLimitExceeded',
  'DownloadTrafficRateLimitExceeded',
  'UploadTrafficRateLimitExceeded',
  'TotalQpsLimitExceeded',
]);
/** In answers of status 400 and 409, which are final otherwise. */
const FAILED = new Set(['RequestTimeout', 'OperationAborted', 'InternalError']);
const KEY = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'TokenRefreshRequired',
  'InvalidToken',
  'InvalidAccessKeyId',
  'SecurityTokenExpired',
  'InvalidSecurityToken',
]);
/** Stores refuse what is more than 15 minutes off, AWS some of it earlier; whole seconds and the way there come on top. */
const SKEW_MS = 4 * 60_000;

/** Judges an answer of status 300 and above. `skewMs`: how far the clocks are apart by this answer; `key`: what it was signed with. */
export const verdictOf = (
  method: string,
  { status, code }: Refusal,
  skewMs: number | undefined,
  key: StoreKey | undefined,
): Verdict => {
  if (SLOW.has(code) || status === 429 || status === 503) return 'slow';
  if (KEY.has(code)) return 'key';
  if (code === 'RequestTimeTooSkewed') return 'skewed';
  if (status === 408 || FAILED.has(code) || (status >= 500 && status !== 501 && status !== 505)) return 'failed';
  if (method === 'HEAD' && code === '') {
    // These have no body that would say more: S3 answers an ended token with 400, and a wrong time with 403.
    if (status === 400 && key?.token !== undefined) return 'key';
    if (status === 403 && skewMs !== undefined && Math.abs(skewMs) > SKEW_MS) return 'skewed';
  }
  return 'answer';
};
