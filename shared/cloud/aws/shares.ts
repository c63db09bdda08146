import { type Dialect, Ec2Client, type Ec2Options } from './client.ts';
import { type Ec2Error, type Ec2ErrorKind, isOfKind, type ShareErrorKind } from './errors.ts';
import type { ShareCalls } from './share-model.ts';
import { SHARE_PERMISSIONS } from './share-policy.ts';

/** What EFS's codes mean. From the API reference's lists of errors, which the vendor's client has, too. */
const KINDS: Readonly<Record<string, Ec2ErrorKind>> = {
  FileSystemNotFound: 'share-missing',
  IncorrectFileSystemLifeCycleState: 'share-state',
  MountTargetConflict: 'target-exists',
  // With the status of a permission that is missing.
  FileSystemLimitExceeded: 'refused',
  // Named like targets of routes that are not there.
  SubnetNotFound: 'refused',
  SecurityGroupNotFound: 'refused',
};

/** What a code means for calls about file systems; undefined: what it means for all. */
export const kindOfShareError = (code: string): Ec2ErrorKind | undefined => KINDS[code];

const SHARES: Dialect<ShareCalls> = {
  service: 'elasticfilesystem',
  permissions: SHARE_PERMISSIONS,
  kindOf: kindOfShareError,
  open: async (options) => (await import('./sdk-shares.ts')).openShares(options),
};

/** EFS's calls. Errors as those of `Ec2Client`, which see. */
export class Efs extends Ec2Client<ShareCalls> {
  constructor(options: Ec2Options<ShareCalls>) {
    super(SHARES, options);
  }
}

/** Is it this refusal of EFS's, which only the caller can put into words? */
export const isShareRefusal: (error: unknown, ...kinds: readonly ShareErrorKind[]) => error is Ec2Error = isOfKind;
