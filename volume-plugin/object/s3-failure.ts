import type { AskedBucket, StoreAnswer, StoreCall } from './call.ts';
import { elementOf, type Refusal } from './refusal.ts';
import { failureBy, refusalError } from './refusal-error.ts';
import type { StoreError, StoreFailure } from './store.ts';

/** `<Code>`s of S3 and of those who speak it. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
const BY_CODE: Readonly<Record<string, StoreFailure>> = {
  NoSuchKey: 'NOT_FOUND',
  NoSuchVersion: 'NOT_FOUND',
  NoSuchUpload: 'NOT_FOUND',
  NoSuchBucket: 'NO_BUCKET',
  PreconditionFailed: 'CONFLICT',
  ConditionalRequestConflict: 'CONFLICT',
  AccessDenied: 'DENIED',
  AllAccessDisabled: 'DENIED',
  AccountProblem: 'DENIED',
  UserSuspended: 'DENIED',
  Forbidden: 'DENIED',
  'KMS.DisabledException': 'DENIED',
  'KMS.NotFoundException': 'INVALID',
  InvalidAccessKeyId: 'CREDENTIALS',
  SignatureDoesNotMatch: 'CREDENTIALS',
  ExpiredToken: 'CREDENTIALS',
  InvalidToken: 'CREDENTIALS',
  TokenRefreshRequired: 'CREDENTIALS',
  InvalidSecurity: 'CREDENTIALS',
  NotSignedUp: 'CREDENTIALS',
  RequestTimeTooSkewed: 'SKEWED',
  PermanentRedirect: 'WRONG_REGION',
  AuthorizationHeaderMalformed: 'WRONG_REGION',
  IllegalLocationConstraintException: 'WRONG_REGION',
  TemporaryRedirect: 'UNREACHABLE',
  SlowDown: 'THROTTLED',
  QuotaExceeded: 'FULL',
  StorageLimitExceeded: 'FULL',
  InsufficientStorage: 'FULL',
  StorageFull: 'FULL',
  XMinioStorageFull: 'FULL',
  XMinioAdminBucketQuotaExceeded: 'FULL',
  UserQuotaExceeded: 'FULL',
  TransferQuotaExceeded: 'FULL',
  CapExceeded: 'FULL',
  ObjectLocked: 'READ_ONLY',
  XMinioObjectLocked: 'READ_ONLY',
  XMinioReadQuorum: 'UNREACHABLE',
  XMinioWriteQuorum: 'UNREACHABLE',
  WriteProtected: 'READ_ONLY',
  InvalidObjectState: 'ARCHIVED',
  RestoreAlreadyInProgress: 'ARCHIVED',
  NotImplemented: 'UNSUPPORTED',
  MethodNotAllowed: 'UNSUPPORTED',
  BadDigest: 'DAMAGED',
  XAmzContentSHA256Mismatch: 'DAMAGED',
  XAmzContentChecksumMismatch: 'DAMAGED',
};

/** What an answer of this status and code means. */
export const failureOf = (refusal: Refusal): StoreFailure => failureBy(BY_CODE, refusal);

/** The region that the bucket is in, when the answer tells. */
const regionOf = ({ headers, body }: StoreAnswer): string =>
  headers.get('x-amz-bucket-region') ?? elementOf(body.toString('utf8', 0, 4096), 'Region');

/** A refusal as an error, in a sentence that names what was refused. */
export const refused = (answer: StoreAnswer, refusal: Refusal, call: StoreCall, bucket: AskedBucket): StoreError => {
  const region = regionOf(answer);
  const failure = precise(failureOf(refusal), refusal, region, bucket.region);
  return refusalError(failure, refusal, call, bucket, region);
};

const precise = (failure: StoreFailure, { status, code }: Refusal, there: string, here: string): StoreFailure => {
  // HEAD is answered without a code, with 400 or 301; 307 comes for some hours after a bucket was made.
  const isElsewhere = there !== '' && there !== here;
  if (isElsewhere && (status === 307 || (code === '' && (status === 400 || status === 301)))) return 'WRONG_REGION';
  // The same code is for a header that is broken in another way, such as by the id of a key.
  if (code === 'AuthorizationHeaderMalformed' && !isElsewhere) return 'CREDENTIALS';
  return failure;
};
