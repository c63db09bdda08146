import type { AskedBucket, StoreCall } from './call.ts';
import type { Refusal } from './refusal.ts';
import { StoreError, type StoreFailure } from './store.ts';

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
