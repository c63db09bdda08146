import { CLUSTER_TAG } from '../cluster-tag.ts';
import { type PolicyDocument, type PolicyScope, partitionOf, type Statement } from './policy.ts';
import type { VolumeCalls } from './volume-model.ts';

/** What the provider of EBS volumes may do, for `drayage policy aws --plugin volume`: what it calls, and no more. */

interface Permission {
  /** With its service, as IAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
}

export const VOLUME_PERMISSIONS = {
  DescribeVolumes: { action: 'ec2:DescribeVolumes', why: 'Finds the volumes of the cluster, and how far a disk is.' },
  DescribeSnapshots: { action: 'ec2:DescribeSnapshots', why: 'Finds the snapshots of the cluster.' },
  DescribeInstances: {
    action: 'ec2:DescribeInstances',
    why: 'Names the hosts that have disks, and tells whether one is stopped or terminated.',
  },
  DescribeInstanceTypes: {
    action: 'ec2:DescribeInstanceTypes',
    why: 'Says how many disks an instance takes when it takes no more.',
  },
  DescribeVolumesModifications: {
    action: 'ec2:DescribeVolumesModifications',
    why: 'Tells how far a disk is that grows.',
  },
  CreateVolume: { action: 'ec2:CreateVolume', why: 'Makes the disk of a volume.' },
  DeleteVolume: { action: 'ec2:DeleteVolume', why: 'Removes the disk of a volume that is removed.' },
  AttachVolume: { action: 'ec2:AttachVolume', why: 'Brings a disk to the host that needs it.' },
  DetachVolume: {
    action: 'ec2:DetachVolume',
    why: 'Gives a disk up, and takes it from a host that is stopped or terminated.',
  },
  ModifyVolume: { action: 'ec2:ModifyVolume', why: 'Makes a disk larger.' },
  CreateSnapshot: { action: 'ec2:CreateSnapshot', why: 'Keeps what is on a disk, and moves it to another zone.' },
  DeleteSnapshot: { action: 'ec2:DeleteSnapshot', why: 'Removes a snapshot that nothing needs any more.' },
  CreateTags: { action: 'ec2:CreateTags', why: 'Writes down which volume a disk belongs to, and what became of it.' },
  DeleteTags: { action: 'ec2:DeleteTags', why: 'Takes such a note away.' },
} as const satisfies Readonly<Record<keyof VolumeCalls, Permission>>;

export interface VolumePolicyScope extends Omit<PolicyScope, 'vpc'> {
  /** The setting CLUSTER; without it the policy holds for every cluster. */
  readonly cluster?: string;
}

type Call = keyof VolumeCalls;

const actions = (...calls: readonly Call[]): string[] => calls.map((call) => VOLUME_PERMISSIONS[call].action);

const READS = (Object.keys(VOLUME_PERMISSIONS) as Call[]).filter((call) => call.startsWith('Describe'));

/** Names of the tags that are ever changed: those of a user are only given when a disk is made. */
const TAG_NAMES = { 'ForAllValues:StringLike': { 'aws:TagKeys': ['drayage:*', 'Name'] } };

/** The least-privilege policy for the role of the hosts, as IAM takes it. */
export const volumePolicyDocument = (scope: VolumePolicyScope = {}): PolicyDocument => {
  const { region, account = '*', cluster = '*' } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  // Snapshots belong to no account in their ARNs.
  const arn = (kind: 'volume' | 'instance' | 'snapshot'): string =>
    `arn:${partition}:ec2:${region ?? '*'}:${kind === 'snapshot' ? '*' : account}:${kind}/*`;
  const ours = { StringLike: { [`ec2:ResourceTag/${CLUSTER_TAG}`]: cluster } };
  const asked = { StringLike: { [`aws:RequestTag/${CLUSTER_TAG}`]: cluster } };
  const nobodys = { Null: { [`ec2:ResourceTag/${CLUSTER_TAG}`]: 'true' } };
  const statement = (
    name: string,
    action: readonly string[],
    resource: string | readonly string[],
    condition?: Statement['Condition'],
  ): Statement => ({
    ...{ Sid: `DrayageVolumes${name}`, Effect: 'Allow', Action: action, Resource: resource },
    ...(condition !== undefined && { Condition: condition }),
  });
  const here = region === undefined ? undefined : { StringEquals: { 'aws:RequestedRegion': region } };
  const Statement: readonly Statement[] = [
    statement('Read', actions(...READS), '*', here),
    statement('Create', actions('CreateVolume'), arn('volume'), asked),
    statement(
      'Use',
      actions('AttachVolume', 'DetachVolume', 'ModifyVolume', 'DeleteVolume', 'CreateSnapshot'),
      arn('volume'),
      ours,
    ),
    statement('Hosts', actions('AttachVolume', 'DetachVolume'), arn('instance')),
    statement('Snapshot', actions('CreateSnapshot'), arn('snapshot'), asked),
    statement('Copies', actions('CreateVolume', 'DeleteSnapshot'), arn('snapshot'), ours),
    statement('TagNew', actions('CreateTags'), [arn('volume'), arn('snapshot')], {
      StringEquals: { 'ec2:CreateAction': ['CreateVolume', 'CreateSnapshot'] },
    }),
    statement('Tag', actions('CreateTags', 'DeleteTags'), [arn('volume'), arn('snapshot')], { ...ours, ...TAG_NAMES }),
    // For `drayage volume import`: a disk that is no cluster's becomes ours. Can be left out.
    statement('Import', actions('CreateTags'), arn('volume'), { ...asked, ...nobodys, ...TAG_NAMES }),
  ];
  return { Version: '2012-10-17', Statement };
};
