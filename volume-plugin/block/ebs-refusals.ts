import { Ec2Error } from '../../shared/cloud/aws/errors.ts';
import { isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { asBackendError } from '../../shared/cloud/backend-errors.ts';
import { PluginError } from '../../shared/errors.ts';

/** EC2's refusals in the words of disks, as far as they mean the same whatever was asked. */

/** What a call was about. */
export interface About {
  readonly volume: string;
  readonly disk: string;
  /** Bytes that were asked for. */
  readonly size?: number;
}

export const NAME = 'ebs';

/** How long a step is tried again that EC2 refuses for a state which its answers do not show. */
export const STATE_MS = 10_000;
export const STATE_PAUSE_MS = 500;

/** For the user. What is none of EC2's refusals passes as it is, worded for storage. */
export const toDiskError = (error: unknown, what: string, { volume, disk, size }: About): unknown => {
  if (isVolumeRefusal(error, 'disk-missing'))
    return new PluginError('DISK_MISSING', { volume, disk }, { cause: error });
  if (isVolumeRefusal(error, 'disk-quota')) {
    return new PluginError(
      'DISK_QUOTA',
      { size, volume, reason: `EC2 says ${error.code}: ${error.message}` },
      { cause: error },
    );
  }
  if (isVolumeRefusal(error, 'attach-limit')) {
    return new PluginError('ATTACH_LIMIT', { disk, volume, reason: error.message }, { cause: error });
  }
  if (isVolumeRefusal(error, 'token-burned')) {
    return new PluginError('TOKEN_BURNED', { provider: NAME, what, reason: error.message }, { cause: error });
  }
  if (error instanceof Ec2Error) {
    const reason = `${error.code}: ${error.message}`;
    return new PluginError('BACKEND_REFUSED', { provider: NAME, what, reason }, { cause: error });
  }
  return asBackendError(error, NAME);
};
