import t from 'tap';
import { PERMISSIONS, policyDocument } from '../../../../../shared/cloud/aliyun/policy.ts';

t.test('writing is limited to the tables that are named, reading cannot be', async (t) => {
  const { Statement } = policyDocument({ region: 'cn-hangzhou', account: '1234', tables: ['vtb-1', 'vtb-2'] });
  t.match(Statement, [
    { Effect: 'Allow', Resource: ['*'] },
    {
      Action: ['vpc:CreateRouteEntry', 'vpc:CreateRouteEntries', 'vpc:DeleteRouteEntry', 'vpc:ModifyRouteEntry'],
      Resource: ['acs:vpc:cn-hangzhou:1234:routetable/vtb-1', 'acs:vpc:cn-hangzhou:1234:routetable/vtb-2'],
    },
  ]);
  t.notOk(Statement[0]?.Action.some((action) => !/:(Describe|List)/.test(action)));
  t.same(policyDocument().Statement[1]?.Resource, ['acs:vpc:*:*:routetable/*']);
});

t.test('every permission has its reason', async (t) => {
  const actions = policyDocument().Statement.flatMap(({ Action }) => Action);
  t.same(PERMISSIONS.map(({ action }) => action).sort(), [...actions].sort());
  for (const { why } of PERMISSIONS) t.match(why, /^[A-Z].{10,}\.$/);
});
