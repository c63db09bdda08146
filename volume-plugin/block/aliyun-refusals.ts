import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { asBackendError } from '../../shared/cloud/backend-errors.ts';
import { PluginError } from '../../shared/errors.ts';

/** What Aliyun refuses, in the words of volumes. */

export const NAME = 'aliyun-disk';

interface Subject {
  /** What was asked for: `to attach disk d-1 of volume data`. */
  readonly what: string;
  readonly volume: string;
  readonly disk?: string;
  /** Bytes that were asked for. */
  readonly size?: number;
}

/** Words a refusal; see `refusal`. */
export type Refused = (error: unknown, subject: Subject) => unknown;

export const missing = (id: string, volume = id): PluginError => new PluginError('DISK_MISSING', { volume, disk: id });

export const burned = (what: string): PluginError => {
  const reason = 'what it had made is gone, or belongs to another volume or to none';
  return new PluginError('TOKEN_BURNED', { provider: NAME, what, reason });
};

/** The code of a refusal that only says so in its name. */
const NEVER_ATTACHED = /neverattached/i;

/**
 * `told` is the error as the client words it, for users of routes. Errors: DISK_MISSING, DISK_FAILED (locked), DISK_QUOTA,
 * ATTACH_LIMIT, BACKEND_*.
 */
export const refusal = (error: unknown, told: unknown, subject: Subject): unknown => {
  const { what, volume, disk = 'unknown', size } = subject;
  const worded = asBackendError(told, NAME);
  if (!(worded instanceof PluginError)) return worded;
  const options = { cause: error };
  const { reason } = worded.context;
  switch (kindOfError(error)) {
    case 'no-disk':
      return missing(disk, volume);
    case 'locked':
      return new PluginError('DISK_FAILED', { volume, disk, state: 'locked by Aliyun', reason }, options);
    case 'full': {
      const full = 'this instance has as many disks as its type takes';
      return new PluginError('ATTACH_LIMIT', { disk, volume, reason: full }, options);
    }
    case 'quota':
      return size === undefined ? worded : new PluginError('DISK_QUOTA', { volume, size, reason }, options);
    case 'copying': {
      const text = 'a snapshot of the disk is being taken';
      return new PluginError('BACKEND_REFUSED', { provider: NAME, what, reason: text }, options);
    }
    default: {
      if (worded.code !== 'BACKEND_REFUSED') return worded;
      const never = NEVER_ATTACHED.test(String(reason))
        ? 'Aliyun takes none of a disk that was never attached: start a container with it once, on a host in its zone'
        : reason;
      return new PluginError('BACKEND_REFUSED', { provider: NAME, what, reason: never }, options);
    }
  }
};
