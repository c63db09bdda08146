import { CLUSTER_TAG } from '../cluster-tag.ts';
import type { PolicyDocument, PolicyScope } from './policy.ts';

/** What the provider of Aliyun's disks may do, for `drayage policy aliyun --plugin volume`: what it calls, and no more. */

interface Permission {
  /** With its service, as RAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to; reading is not limited, for what is hidden would be taken for gone. */
  readonly on: readonly ('disk' | 'snapshot' | 'instance')[];
}

export const VOLUME_PERMISSIONS: readonly Permission[] = [
  { action: 'ecs:DescribeDisks', why: 'Finds the volumes of the cluster, and how far a disk is.', on: [] },
  { action: 'ecs:DescribeSnapshots', why: 'Finds the snapshots of the cluster.', on: [] },
  {
    action: 'ecs:DescribeInstances',
    why: 'Names the hosts that have disks, and tells whether one is stopped or released.',
    on: [],
  },
  { action: 'ecs:CreateDisk', why: 'Makes the disk of a volume.', on: ['disk', 'snapshot'] },
  { action: 'ecs:DeleteDisk', why: 'Removes the disk of a volume that is removed.', on: ['disk'] },
  { action: 'ecs:AttachDisk', why: 'Brings a disk to the host that needs it.', on: ['disk', 'instance'] },
  {
    action: 'ecs:DetachDisk',
    why: 'Gives a disk up, and takes it from a host that is stopped or released.',
    on: ['disk', 'instance'],
  },
  { action: 'ecs:ResizeDisk', why: 'Makes a disk larger.', on: ['disk'] },
  {
    action: 'ecs:CreateSnapshot',
    why: 'Keeps what is on a disk, and moves it to another zone.',
    on: ['disk', 'snapshot'],
  },
  { action: 'ecs:DeleteSnapshot', why: 'Removes a snapshot that nothing needs any more.', on: ['snapshot'] },
  {
    action: 'ecs:TagResources',
    why: 'Writes down which volume a disk belongs to, and what became of it.',
    on: ['disk', 'snapshot'],
  },
  { action: 'ecs:UntagResources', why: 'Takes such a note away.', on: ['disk', 'snapshot'] },
];

/** Where the policy shall hold; what is left out holds anywhere. */
export interface VolumePolicyScope extends Pick<PolicyScope, 'region' | 'account'> {
  /** The setting CLUSTER: disks and snapshots without its tag are then not touched, and none can be imported. */
  readonly cluster?: string;
}

/** The least-privilege policy for the RAM role of the hosts, as RAM takes it. */
export const volumePolicyDocument = ({
  region = '*',
  account = '*',
  cluster,
}: VolumePolicyScope = {}): PolicyDocument => {
  const actions = (fits: (one: Permission) => boolean): string[] =>
    VOLUME_PERMISSIONS.filter(fits).map(({ action }) => action);
  const named = (kind: Permission['on'][number]): string => `acs:ecs:${region}:${account}:${kind}/*`;
  const reads = { Effect: 'Allow', Action: actions(({ on }) => on.length === 0), Resource: ['*'] } as const;
  const kinds = ['disk', 'snapshot', 'instance'] as const;
  const writes = kinds.map((kind) => ({
    ...({ Effect: 'Allow', Action: actions(({ on }) => on.includes(kind)), Resource: [named(kind)] } as const),
  }));
  if (cluster === undefined) return { Version: '1', Statement: [reads, ...writes] };
  const ours = { StringEquals: { [`acs:ResourceTag/${CLUSTER_TAG}`]: cluster } };
  const asked = { StringEquals: { [`acs:RequestTag/${CLUSTER_TAG}`]: cluster } };
  const [disks, snapshots, instances] = [named('disk'), named('snapshot'), named('instance')];
  return {
    Version: '1',
    Statement: [
      reads,
      {
        ...{ Effect: 'Allow', Resource: [disks, snapshots], Condition: ours },
        Action: actions(({ on, action }) => on.some((kind) => kind !== 'instance') && action !== 'ecs:CreateDisk'),
      },
      // The snapshot that a disk is made from.
      { Effect: 'Allow', Action: ['ecs:CreateDisk'], Resource: [snapshots], Condition: ours },
      // What is new has no tags yet: of it those count that are asked for. Of a disk that is copied its own do, above.
      { Effect: 'Allow', Action: ['ecs:CreateDisk'], Resource: [disks], Condition: asked },
      { Effect: 'Allow', Action: ['ecs:CreateSnapshot'], Resource: [snapshots], Condition: asked },
      { Effect: 'Allow', Action: actions(({ on }) => on.includes('instance')), Resource: [instances] },
    ],
  };
};
