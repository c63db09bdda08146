import { asPluginError, type ErrorCode, PluginError } from '../errors.ts';

/** What the clients of clouds throw is worded for routes; for disks and file shares the same is said of storage. */
const STORAGE_CODES: Partial<Record<ErrorCode, ErrorCode>> = {
  PROVIDER_AUTH: 'BACKEND_AUTH',
  PROVIDER_PERMISSION: 'BACKEND_PERMISSION',
  PROVIDER_REFUSED: 'BACKEND_REFUSED',
  PROVIDER_THROTTLED: 'BACKEND_THROTTLED',
  PROVIDER_UNREACHABLE: 'BACKEND_UNREACHABLE',
};

/** PROVIDER_* as BACKEND_*, with the name of the provider of storage; others as they are. */
export const asBackendError = (error: unknown, provider: string): unknown => {
  const code = error instanceof PluginError ? STORAGE_CODES[error.code] : undefined;
  if (!(error instanceof PluginError) || code === undefined) return error;
  const { requestId, cause = error } = error;
  return new PluginError(code, { ...error.context, provider }, { cause, requestId });
};

/** The same of all that some work throws; of a permission that is missing it says how to see all that are needed. */
export const inStorageWords = async <T>(work: Promise<T>, provider: string, cloud: 'aws' | 'aliyun'): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    const worded = asPluginError(asBackendError(error, provider));
    if (worded.code !== 'BACKEND_PERMISSION') throw worded;
    const { cause, requestId } = worded;
    const reason = `\`drayage policy ${cloud} --plugin volume\` prints all that are needed`;
    throw new PluginError(worded.code, { ...worded.context, reason }, { cause, requestId });
  }
};
