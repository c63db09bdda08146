import type { PolicyDocument, PolicyScope } from './policy.ts';

/** What the provider of NAS's shares may do, for `drayage policy aliyun --plugin volume`: what it calls, and no more. */

interface Permission {
  /** With its service, as RAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to; reading is not limited, for what is hidden would be taken for gone. */
  readonly on: readonly ('filesystem' | 'vswitch' | 'claim')[];
}

export const SHARE_PERMISSIONS: readonly Permission[] = [
  { action: 'nas:DescribeFileSystems', why: "Finds the cluster's file system, and those that are named.", on: [] },
  { action: 'nas:DescribeMountTargets', why: 'Finds the way to a file system, and whether it can be mounted.', on: [] },
  { action: 'nas:DescribeAccessGroups', why: 'Tells which host is making something just now.', on: [] },
  { action: 'nas:CreateFileSystem', why: "Makes the cluster's file system, once.", on: ['filesystem'] },
  {
    action: 'nas:CreateMountTarget',
    why: "Brings a file system to the hosts' VPC.",
    on: ['filesystem', 'vswitch'],
  },
  {
    action: 'nas:TagResources',
    why: 'Writes down whose a file system is, where its making did not.',
    on: ['filesystem'],
  },
  { action: 'nas:SetDirQuota', why: 'Limits how large a volume may become.', on: ['filesystem'] },
  { action: 'nas:CancelDirQuota', why: 'Takes such a limit away.', on: ['filesystem'] },
  { action: 'nas:CreateAccessGroup', why: 'Keeps other hosts from making the same meanwhile.', on: ['claim'] },
  { action: 'nas:DeleteAccessGroup', why: 'Lets them again, and leaves nothing behind.', on: ['claim'] },
];

/**
 * The least-privilege policy for the RAM role of the hosts, as RAM takes it. It cannot be narrowed to a cluster: RAM's
 * list of conditions has none on tags of NAS. Nothing in it can remove a file system or a mount target.
 */
export const sharePolicyDocument = ({
  region = '*',
  account = '*',
}: Pick<PolicyScope, 'region' | 'account'> = {}): PolicyDocument => {
  const actions = (fits: (one: Permission) => boolean): string[] =>
    SHARE_PERMISSIONS.filter(fits).map(({ action }) => action);
  const names = {
    filesystem: `acs:nas:${region}:${account}:filesystem/*`,
    vswitch: `acs:vpc:${region}:${account}:vswitch/*`,
    claim: `acs:nas:${region}:${account}:accessgroup/drayage-*`,
  } as const;
  const kinds = ['filesystem', 'vswitch', 'claim'] as const;
  return {
    Version: '1',
    Statement: [
      { Effect: 'Allow', Action: actions(({ on }) => on.length === 0), Resource: ['*'] },
      ...kinds.map(
        (kind) =>
          ({ Effect: 'Allow', Action: actions(({ on }) => on.includes(kind)), Resource: [names[kind]] }) as const,
      ),
    ],
  };
};
