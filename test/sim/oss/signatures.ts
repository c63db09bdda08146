/** Signatures of OSS as the service checks them: version 1 (HMAC-SHA1) and version 4. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import type { Credential, Credentials } from '../core/credentials.ts';
import type { ObjectCall } from '../objects/service.ts';
import { refuse } from './errors.ts';

const V1 = /^OSS ([^:\s]+):([A-Za-z0-9+/]{27}=)$/;
const V4 =
  /^OSS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aliyun_v4_request, ?(?:AdditionalHeaders=([^,\s]*), ?)?Signature=([0-9a-f]{64})$/;
const MOST_SKEW_MS = 15 * 60_000;

/** What version 1 signs of the query. */
const SUBRESOURCES = [
  ...[
    'acl',
    'uploads',
    'location',
    'cors',
    'logging',
    'website',
    'referer',
    'lifecycle',
    'delete',
    'append',
    'tagging',
  ],
  ...['objectMeta', 'uploadId', 'partNumber', 'security-token', 'position', 'restore', 'symlink', 'stat', 'versioning'],
  ...[
    'versions',
    'versionId',
    'continuation-token',
    'sequential',
    'policy',
    'encryption',
    'requestPayment',
    'bucketInfo',
  ],
  ...[
    'comp',
    'qos',
    'live',
    'status',
    'vod',
    'startTime',
    'endTime',
    'x-oss-process',
    'x-oss-traffic-limit',
    'inventory',
  ],
  ...['response-content-type', 'response-content-language', 'response-cache-control', 'response-content-encoding'],
  ...[
    'response-content-disposition',
    'response-expires',
    'callback',
    'callback-var',
    'worm',
    'wormId',
    'cname',
    'style',
  ],
];

const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);

const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

const equal = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

const ossHeaders = (call: ObjectCall): [string, string][] =>
  Object.entries(call.request.headers)
    .filter(([name]) => name.startsWith('x-oss-'))
    .sort(([a], [b]) => (a < b ? -1 : 1));

const resourceOf = (call: ObjectCall): string => (call.bucket === '' ? '/' : `/${call.bucket}/${call.key}`);

const v1Text = (call: ObjectCall): string => {
  const { method, headers, query } = call.request;
  const words = query
    .filter(([name]) => SUBRESOURCES.includes(name))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .sort();
  return [
    method,
    headers['content-md5'] ?? '',
    headers['content-type'] ?? '',
    headers['x-oss-date'] ?? headers['date'] ?? '',
    ...ossHeaders(call).map(([name, value]) => `${name}:${value}`),
    resourceOf(call) + (words.length === 0 ? '' : `?${words.join('&')}`),
  ].join('\n');
};

const v4Text = (call: ObjectCall, additional: readonly string[]): string => {
  const { method, headers, query } = call.request;
  const sorted = query
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => (value === '' ? name : `${name}=${value}`))
    .join('&');
  const signed = Object.keys(headers)
    .filter((name) => /^(content-type|content-md5|x-oss-.*)$/.test(name) || additional.includes(name))
    .sort();
  const fields = signed.map((name) => `${name}:${headers[name] ?? ''}\n`).join('');
  const uri = encode(resourceOf(call)).replaceAll('%2F', '/');
  return [method, uri, sorted, fields, additional.join(';'), headers['x-oss-content-sha256'] ?? ''].join('\n');
};

const checkTime = (text: string, date: number, now: number): void => {
  if (Number.isNaN(date)) throw refuse('AccessDenied', 'OSS authentication requires a valid Date.');
  if (Math.abs(now - date) <= MOST_SKEW_MS) return;
  throw refuse('RequestTimeTooSkewed', undefined, {
    MaxAllowedSkewMilliseconds: String(MOST_SKEW_MS),
    RequestTime: text,
    ServerTime: new Date(now).toISOString(),
  });
};

export interface Authority {
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly region: string;
}

const find = (id: string, call: ObjectCall, { credentials }: Authority): Credential => {
  const credential = credentials.find(id);
  if (credential === undefined) throw refuse('InvalidAccessKeyId', undefined, { OSSAccessKeyId: id });
  const token = call.request.headers['x-oss-security-token'];
  if (credential.token === undefined ? token !== undefined : credential.token !== token) {
    // Temporary keys are not known without their token.
    throw token === undefined
      ? refuse('InvalidAccessKeyId', undefined, { OSSAccessKeyId: id })
      : refuse('InvalidSecurityToken');
  }
  if (credentials.expired(credential)) throw refuse('SecurityTokenExpired');
  return credential;
};

/** Who signed the request; undefined: nobody. Throws Refusal. */
export function authenticate(call: ObjectCall, authority: Authority): Credential | undefined {
  const { headers } = call.request;
  const authorization = headers['authorization'];
  if (authorization === undefined) return undefined;
  const now = authority.clock.now();
  const one = V1.exec(authorization);
  if (one !== null) {
    const [, id = '', signature = ''] = one;
    const credential = find(id, call, authority);
    const stamp = headers['x-oss-date'] ?? headers['date'] ?? '';
    checkTime(stamp, Date.parse(stamp), now);
    const text = v1Text(call);
    const expected = createHmac('sha1', credential.secret).update(text).digest('base64');
    if (!equal(expected, signature)) throw mismatch(id, signature, text);
    return credential;
  }
  const four = V4.exec(authorization);
  if (four === null) throw refuse('InvalidArgument', 'The Authorization header is invalid.');
  const [, id = '', day = '', region = '', product = '', names = '', signature = ''] = four;
  const credential = find(id, call, authority);
  if (region !== authority.region) throw refuse('InvalidArgument', 'Invalid signing region in Authorization header.');
  if (product !== 'oss') throw refuse('InvalidArgument', 'Invalid signing product in Authorization header.');
  const stamp = headers['x-oss-date'] ?? '';
  checkTime(stamp, Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z')), now);
  if (!stamp.startsWith(day)) throw refuse('InvalidArgument', 'Invalid signing date in Authorization header.');
  if (headers['x-oss-content-sha256'] !== 'UNSIGNED-PAYLOAD') {
    throw refuse('InvalidArgument', 'The x-oss-content-sha256 header must be UNSIGNED-PAYLOAD.');
  }
  const additional = names === '' ? [] : names.split(';');
  const missing = additional.find((name) => headers[name] === undefined);
  if (missing !== undefined) throw refuse('InvalidArgument', `The additional header ${missing} is missing.`);
  const canonical = v4Text(call, additional);
  const scope = `${day}/${region}/${product}/aliyun_v4_request`;
  const text = ['OSS4-HMAC-SHA256', stamp, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const steps = [day, region, product, 'aliyun_v4_request'];
  const key = steps.reduce<string | Buffer>(hmac, `aliyun_v4${credential.secret}`);
  if (!equal(hmac(key, text).toString('hex'), signature)) throw mismatch(id, signature, text, canonical);
  return credential;
}

const mismatch = (id: string, signature: string, text: string, canonical?: string) =>
  refuse('SignatureDoesNotMatch', undefined, {
    OSSAccessKeyId: id,
    SignatureProvided: signature,
    StringToSign: text,
    ...(canonical === undefined ? {} : { CanonicalRequest: canonical }),
  });
