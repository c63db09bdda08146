import type { AskedBucket, StoreCall } from './call.ts';
import type { Refusal } from './refusal.ts';
import { StoreError, type StoreFailure } from './store.ts';

/** Answers to HEAD have no body, and others, such as those of proxies, may be without a code. */
const BY_STATUS: Readonly<Record<number, StoreFailure>> = {
  301: 'WRONG_REGION',
  // Some say so of a condition on a write.
  304: 'CONFLICT',
  307: 'UNREACHABLE',
  401: 'CREDENTIALS',
  403: 'DENIED',
  404: 'NOT_FOUND',
  405: 'UNSUPPORTED',
  412: 'CONFLICT',
  413: 'INVALID',
  429: 'THROTTLED',
  501: 'UNSUPPORTED',
  503: 'THROTTLED',
  507: 'FULL',
};

/** What an answer means by a vendor's codes, or by its status. */
export const failureBy = (
  codes: Readonly<Record<string, StoreFailure>>,
  { status, code }: Pick<Refusal, 'status' | 'code'>,
): StoreFailure => codes[code] ?? BY_STATUS[status] ?? (status >= 500 ? 'UNREACHABLE' : 'INVALID');

const textOf = (
  failure: StoreFailure,
  { status, code, message, requestId }: Refusal,
  { action, key }: StoreCall,
  { name: bucket, region: asked }: AskedBucket,
  region: string,
): string => {
  const target = key === undefined || key === '' ? bucket : `${bucket}/${key}`;
  const words = [String(status), code, message].filter((word) => word !== '').join(' ');
  const said = `${words}${requestId === '' ? '' : ` (request ${requestId})`}`;
  switch (failure) {
    case 'NO_BUCKET':
      return `${bucket} does not exist`;
    case 'DENIED':
      return `${action} is not allowed for ${target}: ${said}`;
    case 'WRONG_REGION':
      return region === ''
        ? `${bucket} is in another region than ${asked}: ${said}`
        : `${bucket} is in the region ${region}: ${said}`;
    case 'CREDENTIALS':
      return `the key for ${bucket} is not taken: ${said}`;
    case 'ARCHIVED':
      return `${target} is archived, and must be restored before it can be read: ${said}`;
    default:
      return `${action} of ${target} failed: ${said}`;
  }
};

/** A refusal as an error, in a sentence that names what was refused. `region`: where it is, '' when nobody tells. */
export const refusalError = (
  failure: StoreFailure,
  refusal: Refusal,
  call: StoreCall,
  bucket: AskedBucket,
  region: string,
): StoreError =>
  new StoreError(failure, textOf(failure, refusal, call, bucket, region), {
    ...(call.key !== undefined && { key: call.key }),
    ...(failure === 'DENIED' && { named: call.action }),
    ...(failure === 'WRONG_REGION' && region !== '' && { named: region }),
  });
