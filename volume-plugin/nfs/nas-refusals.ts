import type { AliyunCaller } from '../../shared/cloud/aliyun/caller.ts';
import { inStorageWords } from '../../shared/cloud/backend-errors.ts';
import { PluginError } from '../../shared/errors.ts';

/** What NAS refuses, in the words of volumes. */

export const NAME = 'nas';

export const refused = (what: string, reason: string, cause?: unknown): PluginError =>
  new PluginError('BACKEND_REFUSED', { provider: NAME, what, reason }, { cause });

export const missing = (share: string, region: string): PluginError => {
  const reason = `Aliyun knows no such file system of NAS in ${region}`;
  return new PluginError('SHARE_MISSING', { share, reason });
};

/** Errors of the cloud's client in the words of storage. `caller`: undefined before it is known who this host is. */
export const told = <T>(caller: () => AliyunCaller | undefined, work: Promise<T>): Promise<T> =>
  inStorageWords(
    work.catch((error: unknown) => Promise.reject(caller()?.translate(error) ?? error)),
    NAME,
    'aliyun',
  );
