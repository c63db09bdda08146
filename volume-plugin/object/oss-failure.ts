import type { AskedBucket, StoreAnswer, StoreCall } from './call.ts';
import { elementOf, type Refusal } from './refusal.ts';
import { failureBy, refusalError } from './refusal-error.ts';
import type { StoreError, StoreFailure } from './store.ts';

/** `<Code>`s of OSS. https://www.alibabacloud.com/help/en/oss/developer-reference/error-responses */
const BY_CODE: Readonly<Record<string, StoreFailure>> = {
  NoSuchKey: 'NOT_FOUND',
  NoSuchUpload: 'NOT_FOUND',
  NoSuchVersion: 'NOT_FOUND',
  SymlinkTargetNotExist: 'NOT_FOUND',
  NoSuchBucket: 'NO_BUCKET',
  PreconditionFailed: 'CONFLICT',
  FileAlreadyExists: 'CONFLICT',
  ObjectAlreadyExists: 'CONFLICT',
  AccessDenied: 'DENIED',
  AccessForbidden: 'DENIED',
  UserDisable: 'DENIED',
  KmsServiceNotEnabled: 'DENIED',
  InvalidAccessKeyId: 'CREDENTIALS',
  SignatureDoesNotMatch: 'CREDENTIALS',
  SecurityTokenExpired: 'CREDENTIALS',
  SecurityTokenNotSupported: 'CREDENTIALS',
  InvalidSecurityToken: 'CREDENTIALS',
  InvalidSecurity: 'CREDENTIALS',
  RequestTimeTooSkewed: 'SKEWED',
  RequestExpired: 'SKEWED',
  QuotaExceeded: 'FULL',
  FileImmutable: 'READ_ONLY',
  InvalidObjectState: 'ARCHIVED',
  RestoreAlreadyInProgress: 'ARCHIVED',
  NotImplemented: 'UNSUPPORTED',
  MethodNotAllowed: 'UNSUPPORTED',
  InvalidDigest: 'DAMAGED',
};

/** OSS says this of a bucket of another region with the code AccessDenied, and of a signature for one with InvalidArgument. */
const ELSEWHERE = /must be addressed using the specified endpoint|signing region/i;

/** What an answer of this status and code means. */
export const failureOf = (refusal: Refusal): StoreFailure =>
  ELSEWHERE.test(refusal.message) ? 'WRONG_REGION' : failureBy(BY_CODE, refusal);

/** `cn-shanghai`, of the endpoint that the answer names. */
const regionOf = ({ headers, body }: StoreAnswer): string => {
  const hidden = headers.get('x-oss-err');
  const xml = hidden === undefined ? body.toString('utf8', 0, 4096) : Buffer.from(hidden, 'base64').toString('utf8');
  return /^oss-(.+?)(?:-internal)?\.aliyuncs\.com$/.exec(elementOf(xml, 'Endpoint'))?.[1] ?? '';
};

/** A refusal as an error, in a sentence that names what was refused. */
export const refused = (answer: StoreAnswer, refusal: Refusal, call: StoreCall, bucket: AskedBucket): StoreError => {
  return refusalError(failureOf(refusal), refusal, call, bucket, regionOf(answer));
};
