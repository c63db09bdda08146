import { recordOf, records, text } from './answers.ts';
import type { Body } from './caller.ts';

/** Of what NAS says of file systems exactly what Drayage looks at. */

export interface FileSystemInfo {
  /** `31a8e4abcd`, `extreme-0015abcd`. */
  readonly id: string;
  /** `standard` (General-purpose), `extreme`, `cpfs` … */
  readonly type: string;
  /** `Performance`, `Capacity`, `Premium`; of Extreme `standard`, `advance`. */
  readonly storage: string;
  /** `NFS`, `SMB`, `cpfs`. */
  readonly protocol: string;
  /** Pending, Running, Stopped, Extending, Stopping, Deleting. */
  readonly status: string;
  readonly encrypted: boolean;
  /** The user's key of KMS. */
  readonly key?: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Host names of its mount targets, in whichever VPC they are. */
  readonly domains: readonly string[];
  /** ISO time, in whole seconds. */
  readonly created: string;
}

export interface MountTargetInfo {
  /** Host name; empty while an Extreme file system's is being made. */
  readonly domain: string;
  /** In lower case: active, inactive, pending, deleting, hibernating, hibernated. Only an active one can be mounted. */
  readonly status: string;
  readonly vpc: string;
}

export interface AccessGroupInfo {
  readonly name: string;
  readonly description: string;
}

/** What comes after the host name of an Extreme file system's target in some answers is the path of its export. */
const domainOf = (from: Body): string => text(from, 'MountTargetDomain').split(':')[0] ?? '';

export const fileSystemOf = (from: Body): FileSystemInfo => {
  const key = text(from, 'KMSKeyId');
  return {
    id: text(from, 'FileSystemId'),
    type: text(from, 'FileSystemType') || 'standard',
    storage: text(from, 'StorageType'),
    protocol: text(from, 'ProtocolType'),
    status: text(from, 'Status'),
    encrypted: Number(from.EncryptType ?? 0) > 0,
    ...(key !== '' && { key }),
    tags: Object.fromEntries(records(from, 'Tags', 'Tag').map((one) => [text(one, 'Key'), text(one, 'Value')])),
    domains: records(recordOf(from), 'MountTargets', 'MountTarget').flatMap((one) => domainOf(one) || []),
    created: text(from, 'CreateTime'),
  };
};

export const mountTargetOf = (from: Body): MountTargetInfo => ({
  domain: domainOf(from),
  status: text(from, 'Status').toLowerCase(),
  vpc: text(from, 'VpcId'),
});

export const accessGroupOf = (from: Body): AccessGroupInfo => ({
  name: text(from, 'AccessGroupName'),
  description: text(from, 'Description'),
});
