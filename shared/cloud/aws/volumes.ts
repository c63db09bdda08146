import { type Dialect, Ec2Client, type Ec2Options } from './client.ts';
import { type Ec2Error, type Ec2ErrorKind, isOfKind, type VolumeErrorKind } from './errors.ts';
import type { VolumeCalls } from './volume-model.ts';
import { VOLUME_PERMISSIONS } from './volume-policy.ts';

/** What EC2's codes mean for calls about volumes. From the API reference's list, and from what its drivers have met. */
const KINDS: Readonly<Record<string, Ec2ErrorKind>> = {
  'InvalidVolume.NotFound': 'disk-missing',
  'InvalidSnapshot.NotFound': 'disk-missing',
  VolumeInUse: 'disk-in-use',
  IncorrectState: 'disk-state',
  IncorrectInstanceState: 'disk-state',
  'InvalidAttachment.NotFound': 'not-attached',
  AttachmentLimitExceeded: 'attach-limit',
  'InvalidVolume.ZoneMismatch': 'zone-mismatch',
  VolumeLimitExceeded: 'disk-quota',
  MaxIOPSLimitExceeded: 'disk-quota',
  SnapshotLimitExceeded: 'disk-quota',
  ConcurrentSnapshotLimitExceeded: 'disk-quota',
  PendingSnapshotLimitExceeded: 'disk-quota',
  VolumeModificationSizeLimitExceeded: 'disk-quota',
  IdempotentParameterMismatch: 'token-burned',
  IncorrectModificationState: 'modifying',
  VolumeModificationRateExceeded: 'modifying',
  SnapshotCreationPerVolumeRateExceeded: 'throttled',
  'InvalidInstanceID.NotFound': 'instance-missing',
};

/** EC2 has a code of its own for almost everything, but not for this. */
const DEVICE_TAKEN = /already in use/i;

/** What a code means for calls about volumes; undefined: what it means for all. */
export const kindOfVolumeError = (code: string, message: string): Ec2ErrorKind | undefined =>
  code === 'InvalidParameterValue' && DEVICE_TAKEN.test(message) ? 'device-taken' : KINDS[code];

const VOLUMES: Dialect<VolumeCalls> = {
  permissions: VOLUME_PERMISSIONS,
  kindOf: kindOfVolumeError,
  // The only call that makes something and takes no token.
  once: ['CreateSnapshot'],
  open: async (options) => (await import('./sdk-volumes.ts')).openVolumes(options),
};

/** EC2's calls for volumes and snapshots. Errors as those of `Ec2Client`, which see. */
export class Ebs extends Ec2Client<VolumeCalls> {
  constructor(options: Ec2Options<VolumeCalls>) {
    super(VOLUMES, options);
  }
}

/** Is it this refusal of EC2's, which only the caller can put into words? */
export const isVolumeRefusal: (error: unknown, ...kinds: readonly VolumeErrorKind[]) => error is Ec2Error = isOfKind;
