import type { Action } from './model.ts';

/** What the AWS provider may do, for `drayage policy aws`: one permission for each call that it makes, and no other. */

interface Permission {
  /** With its service, as IAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What EC2 lets it be limited to. Describing calls cannot be limited. */
  readonly on: 'anything' | 'route-table' | 'network-interface';
}

export const PERMISSIONS = {
  DescribeRouteTables: {
    action: 'ec2:DescribeRouteTables',
    why: 'Reads which prefixes are routed, and to whom.',
    on: 'anything',
  },
  DescribeInstances: {
    action: 'ec2:DescribeInstances',
    why: 'Names the hosts that routes lead to, and tells whether one is terminated.',
    on: 'anything',
  },
  DescribeNetworkInterfaces: {
    action: 'ec2:DescribeNetworkInterfaces',
    why: "Looks whether this host's source/dest check is off, and whether a route's target still exists.",
    on: 'anything',
  },
  CreateRoute: { action: 'ec2:CreateRoute', why: "Claims a prefix for this host's containers.", on: 'route-table' },
  ReplaceRoute: {
    action: 'ec2:ReplaceRoute',
    why: 'Takes an address or a prefix over from a host that is gone, in one step.',
    on: 'route-table',
  },
  DeleteRoute: { action: 'ec2:DeleteRoute', why: 'Gives a prefix of this host back.', on: 'route-table' },
  ModifyNetworkInterfaceAttribute: {
    action: 'ec2:ModifyNetworkInterfaceAttribute',
    why: "Turns the source/dest check of this host's interface off, so that it may send for its containers.",
    on: 'network-interface',
  },
  GetServiceQuota: {
    action: 'servicequotas:GetServiceQuota',
    why: 'Reads how many routes a table takes, to warn before it is full.',
    on: 'anything',
  },
} as const satisfies Readonly<Record<Action, Permission>>;

/** Where the policy shall hold; what is left out holds anywhere. */
export interface PolicyScope {
  /** `aws`, `aws-cn` or `aws-us-gov`. */
  readonly partition?: string;
  readonly region?: string;
  readonly account?: string;
  readonly vpc?: string;
}

export interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string | readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export interface PolicyDocument {
  readonly Version: '2012-10-17';
  readonly Statement: readonly Statement[];
}

/** The partition that a region belongs to. */
export const partitionOf = (region: string): 'aws' | 'aws-cn' | 'aws-us-gov' => {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
};

const SIDS = {
  anything: 'DrayageReads',
  'route-table': 'DrayageRoutes',
  'network-interface': 'DrayageInterface',
} as const;

/** The least-privilege policy for the role of the hosts, as IAM takes it. */
export const policyDocument = (scope: PolicyScope = {}): PolicyDocument => {
  const { region, account = '*', vpc } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  const arn = (resource: string): string => `arn:${partition}:ec2:${region ?? '*'}:${account}:${resource}`;
  const all: readonly Permission[] = Object.values(PERMISSIONS);
  const condition = (on: Permission['on']): Statement['Condition'] => {
    if (on !== 'anything' && vpc !== undefined) return { ArnLike: { 'ec2:Vpc': arn(`vpc/${vpc}`) } };
    return region === undefined ? undefined : { StringEquals: { 'aws:RequestedRegion': region } };
  };
  const statements = (Object.keys(SIDS) as (keyof typeof SIDS)[]).map((on): Statement => {
    const limit = condition(on);
    return {
      Sid: SIDS[on],
      Effect: 'Allow',
      Action: all.filter((one) => one.on === on).map((one) => one.action),
      Resource: on === 'anything' ? '*' : arn(`${on}/*`),
      ...(limit !== undefined && { Condition: limit }),
    };
  });
  return { Version: '2012-10-17', Statement: statements };
};
