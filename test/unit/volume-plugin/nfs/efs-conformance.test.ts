import t, { type Test } from 'tap';
import { sharePolicyDocument } from '../../../../shared/cloud/aws/share-policy.ts';
import { type MakeShareWorld, shareProviderConformance } from '../../../conformance/share-provider.ts';
import { countIn, type EfsWorldConfig, efsWorld, foreign } from './efs-world.ts';

t.setTimeout(120_000);

const used = new Set<string>();
const refused = new Set<string>();

const worlds =
  (config: EfsWorldConfig, lateMs: number): MakeShareWorld =>
  async (t: Test) => {
    const { aws, host, subnets } = await efsWorld(t, config);
    const others = foreign(aws);
    // A role may make mount targets for what is the cluster's only: whoever brings a file system brings them along.
    for (const id of Object.values(subnets)) {
      const subnet = aws.world.subnets.get(id);
      if (subnet !== undefined) aws.files.createTarget(others, subnet, [], undefined);
    }
    if (config.lagMs !== undefined) await new Promise((resolve) => setTimeout(resolve, config.lagMs));
    t.teardown(() => {
      for (const { service, action, code } of aws.calls()) {
        if (service !== 'elasticfilesystem') continue;
        used.add(`${service}:${action}`);
        if (code === 'AccessDeniedException') refused.add(action);
      }
    });
    return {
      host: (n, cluster) => host(n, { ...(cluster !== undefined && { cluster }) }),
      makes: true,
      lateMs,
      count: () => countIn(aws),
      others,
      missing: ['fs-0123456789abcdef0', 'fs-01234567:/data', 'fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com:/'],
      nonsense: [
        '',
        'fs-',
        'fs-xyz',
        'fs-0123:/',
        'fsap-0123456789abcdef0',
        '/data',
        `${others}:data`,
        `${others}:/../x`,
      ],
      loseAnswers: () => {
        for (const action of ['CreateFileSystem', 'CreateMountTarget']) aws.faults.loseReply(action, { nth: 1 });
      },
    };
  };

const policyOf = (cluster: string) => sharePolicyDocument({ cluster });

t.test('file systems of EFS are shares, also with no more rights than the policy that is printed', (t) =>
  shareProviderConformance(
    t,
    worlds(
      {
        policy: { Statement: [...policyOf('test').Statement, ...policyOf('other').Statement] },
      },
      0,
    ),
  ),
);

t.test('the policy that is printed allows every call that was made, and has hardly any other', async (t) => {
  const printed = sharePolicyDocument().Statement.flatMap(({ Action }) => Action);
  t.same(
    [...used].filter((action) => !printed.includes(action)),
    [],
  );
  t.same([...refused], []);
  t.same(
    printed.filter((action) => !used.has(action)).sort(),
    [
      'ec2:CreateNetworkInterface',
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
      'elasticfilesystem:TagResource',
    ],
    'which EFS asks for in the name of who makes something',
  );
});

t.test('also where states last, and what was written shows later', (t) =>
  shareProviderConformance(t, worlds({ lagMs: 60, fileTimes: { createMs: 120, targetMs: 200, deleteMs: 100 } }, 2_000)),
);
