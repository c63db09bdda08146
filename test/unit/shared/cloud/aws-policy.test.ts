import t from 'tap';
import { PERMISSIONS, partitionOf, policyDocument } from '../../../../shared/cloud/aws/policy.ts';

t.test('without a place the policy holds anywhere', async (t) => {
  const { Version, Statement } = policyDocument();
  t.equal(Version, '2012-10-17');
  t.same(
    Statement.flatMap(({ Action }) => Action).sort(),
    Object.values(PERMISSIONS)
      .map(({ action }) => action)
      .sort(),
  );
  t.match(Statement, [
    { Resource: '*' },
    { Resource: 'arn:aws:ec2:*:*:route-table/*', Action: ['ec2:CreateRoute', 'ec2:ReplaceRoute', 'ec2:DeleteRoute'] },
    { Resource: 'arn:aws:ec2:*:*:network-interface/*', Action: ['ec2:ModifyNetworkInterfaceAttribute'] },
  ]);
  t.notOk(Statement.some((one) => 'Condition' in one));
});

t.test('with a place it is limited to region, account and VPC', async (t) => {
  const { Statement } = policyDocument({ region: 'cn-north-1', account: '123456789012', vpc: 'vpc-1' });
  t.match(Statement, [
    { Resource: '*', Condition: { StringEquals: { 'aws:RequestedRegion': 'cn-north-1' } } },
    {
      Resource: 'arn:aws-cn:ec2:cn-north-1:123456789012:route-table/*',
      Condition: { ArnLike: { 'ec2:Vpc': 'arn:aws-cn:ec2:cn-north-1:123456789012:vpc/vpc-1' } },
    },
    { Resource: 'arn:aws-cn:ec2:cn-north-1:123456789012:network-interface/*' },
  ]);
});

t.test('partitions follow from regions', async (t) => {
  t.equal(partitionOf('eu-central-1'), 'aws');
  t.equal(partitionOf('cn-northwest-1'), 'aws-cn');
  t.equal(partitionOf('us-gov-east-1'), 'aws-us-gov');
});

t.test('nothing is asked for without a reason', async (t) => {
  for (const { action, why } of Object.values(PERMISSIONS)) {
    t.match(action, /^[a-z0-9]+:[A-Z]\w+$/);
    t.match(why, /^[A-Z].{10,}\.$/);
  }
});
