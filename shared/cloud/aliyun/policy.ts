/** What the Aliyun provider may do, for `drayage policy aliyun`: one permission for each call that it makes, and no other. */

interface Permission {
  /** With its service, as RAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to. */
  readonly on: 'anything' | 'route-table';
}

export const PERMISSIONS: readonly Permission[] = [
  {
    action: 'vpc:DescribeRouteEntryList',
    why: 'Reads which prefixes are routed, and to whom.',
    on: 'anything',
  },
  { action: 'vpc:DescribeRouteTableList', why: "Finds the route tables that the VPC's vSwitches use.", on: 'anything' },
  { action: 'vpc:DescribeVpcs', why: "Reads the VPC's CIDRs, which are reached without translation.", on: 'anything' },
  { action: 'vpc:DescribeVSwitches', why: "Reads the vSwitches' CIDRs, in which no route is taken.", on: 'anything' },
  {
    action: 'ecs:DescribeInstances',
    why: 'Names the hosts that routes lead to, and tells whether one is released.',
    on: 'anything',
  },
  {
    action: 'quotas:ListProductQuotas',
    why: 'Reads how many routes a table takes, to warn before it is full.',
    on: 'anything',
  },
  { action: 'vpc:CreateRouteEntry', why: "Claims a prefix for this host's containers.", on: 'route-table' },
  { action: 'vpc:CreateRouteEntries', why: 'Does so in several tables at once.', on: 'route-table' },
  { action: 'vpc:DeleteRouteEntry', why: 'Gives a prefix of this host back.', on: 'route-table' },
  {
    action: 'vpc:ModifyRouteEntry',
    why: 'Takes an address or a prefix over from a host that is gone, in one step.',
    on: 'route-table',
  },
];

/** Where the policy shall hold; what is left out holds anywhere. */
export interface PolicyScope {
  readonly region?: string;
  /** Number of the account. */
  readonly account?: string;
  /** Ids of the route tables that may be written. */
  readonly tables?: readonly string[];
}

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
}

export interface PolicyDocument {
  readonly Version: '1';
  readonly Statement: readonly Statement[];
}

/** The least-privilege policy for the RAM role of the hosts, as RAM takes it. */
export const policyDocument = (scope: PolicyScope = {}): PolicyDocument => {
  const { region = '*', account = '*', tables = ['*'] } = scope;
  const actions = (on: Permission['on']): readonly string[] =>
    PERMISSIONS.filter((one) => one.on === on).map((one) => one.action);
  const tableNames = tables.map((table) => `acs:vpc:${region}:${account}:routetable/${table}`);
  return {
    Version: '1',
    Statement: [
      { Effect: 'Allow', Action: actions('anything'), Resource: ['*'] },
      { Effect: 'Allow', Action: actions('route-table'), Resource: tableNames },
    ],
  };
};
