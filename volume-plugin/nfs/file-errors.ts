import { PluginError } from '../../shared/errors.ts';
import type { WorkerRefusal } from './worker-process.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'there is no space left',
  EREMOTEIO: 'the server has trouble of its own',
  EDQUOT: 'the quota is used up',
  ENOTDIR: 'a file or a symbolic link is where a folder should be',
  ELOOP: 'a symbolic link is there',
  EISDIR: 'a folder is where a file should be',
  EEXIST: 'something is there already',
  ENOTEMPTY: 'the folder is not empty',
  EBUSY: 'somebody has it open',
  EFBIG: 'it is too large',
  EINVAL: 'it is not what it should be',
};

/** What a server has refused, in words for users. `what` is what was to be done ("write a.json"), `where` the path on the share. */
export const fileError = (
  { code, message }: WorkerRefusal,
  share: string,
  what: string,
  where: string,
): PluginError => {
  const because = { cause: new Error(message) };
  switch (code) {
    case 'EROFS':
      return new PluginError('SHARE_READONLY', { share }, because);
    case 'EACCES':
    case 'EPERM':
      return new PluginError('SHARE_REFUSED', { share, reason: `it does not let root ${what}` }, because);
    case 'ENOENT':
      return new PluginError(
        'SHARE_MISSING',
        { share: `${share}/${where}`, reason: 'there is no such folder' },
        because,
      );
    case 'ESTALE':
      return new PluginError('SHARE_MISSING', { share, reason: 'its server has taken it away' }, because);
    case 'EIO':
    case 'ETIMEDOUT':
      return new PluginError('SHARE_SILENT', { share, reason: `it did not ${what}` }, because);
    default: {
      const context = { provider: `NFS share ${share}`, what: `to ${what}`, reason: REASONS[code] ?? code };
      return new PluginError('BACKEND_REFUSED', context, because);
    }
  }
};
