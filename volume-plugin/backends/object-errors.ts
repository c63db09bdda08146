import { PluginError } from '../../shared/errors.ts';
import { HttpError } from '../object/http/http-error.ts';
import { StoreError } from '../object/store.ts';

/** What a store has refused, in words for users. `what`: what it was asked, such as `to list the volumes`. */
export const bucketError = (thrown: unknown, bucket: string, what: string): unknown => {
  if (!(thrown instanceof StoreError)) return thrown;
  const { failure, message, named } = thrown;
  const because = { cause: thrown };
  const common = { bucket, reason: message };
  switch (failure) {
    case 'NO_BUCKET':
      return new PluginError('BUCKET_MISSING', common, because);
    case 'DENIED':
      return new PluginError('BUCKET_DENIED', { ...common, action: named ?? 'do what was asked' }, because);
    case 'CREDENTIALS':
      return new PluginError('BUCKET_CREDENTIALS', common, because);
    case 'WRONG_REGION':
      return new PluginError('BUCKET_REGION', { ...common, region: named }, because);
    case 'SKEWED':
      return new PluginError('BUCKET_CLOCK', common, because);
    case 'THROTTLED':
      return new PluginError('BUCKET_THROTTLED', common, because);
    case 'READ_ONLY':
      return new PluginError('BUCKET_READONLY', common, because);
    case 'UNREACHABLE':
    case 'DEADLINE':
      if (thrown.cause instanceof HttpError) {
        const { trouble, message: reason } = thrown.cause;
        if (trouble === 'certificate') return new PluginError('BUCKET_CERTIFICATE', { bucket, reason }, because);
        if (trouble === 'proxy') return new PluginError('BUCKET_PROXY', { bucket, reason }, because);
      }
      // The store was not even asked: the service that has the keys of this host's role is silent.
      if (thrown.cause instanceof PluginError && thrown.cause.code === 'PROVIDER_UNREACHABLE') {
        return new PluginError('BUCKET_KEYLESS', { bucket, reason: thrown.cause.context['reason'] }, because);
      }
      return new PluginError('BUCKET_UNREACHABLE', common, because);
    case 'NOT_FOUND':
    case 'CONFLICT':
    case 'FULL':
    case 'ARCHIVED':
    case 'UNSUPPORTED':
    case 'INVALID':
    case 'DAMAGED':
      return new PluginError('BUCKET_REFUSED', { ...common, what }, because);
    default:
      return unknownFailure(failure, because);
  }
};

const unknownFailure = (failure: never, because: { readonly cause: unknown }): PluginError =>
  new PluginError('INTERNAL', { reason: failure }, because);

/** Asks a store; what it refuses is thrown in words for users. Errors: BUCKET_*. */
export const asked = async <T>(bucket: string, what: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (thrown) {
    throw bucketError(thrown, bucket, what);
  }
};
