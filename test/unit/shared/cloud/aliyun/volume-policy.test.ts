import t from 'tap';
import { VOLUME_PERMISSIONS, volumePolicyDocument } from '../../../../../shared/cloud/aliyun/volume-policy.ts';

const all = VOLUME_PERMISSIONS.map(({ action }) => action).sort();

t.test('every permission is in the policy, whatever it is narrowed to, and has its reason', async (t) => {
  for (const scope of [{}, { region: 'cn-hangzhou', account: '1234' }, { cluster: 'prod' }]) {
    const actions = volumePolicyDocument(scope).Statement.flatMap(({ Action }) => Action);
    t.same([...new Set(actions)].sort(), all);
  }
  for (const { why } of VOLUME_PERMISSIONS) t.match(why, /^[A-Z].{10,}\.$/);
});

t.test('reading is not limited; writing is, to the account and to kinds of things', async (t) => {
  const [reads, ...writes] = volumePolicyDocument({ region: 'cn-hangzhou', account: '1234' }).Statement;
  t.same(reads?.Resource, ['*']);
  t.ok(reads?.Action.every((action) => /^ecs:Describe/.test(action)));
  for (const { Action, Resource } of writes) {
    t.notOk(Action.some((action) => /:Describe/.test(action)));
    t.match(Resource.join(), /^acs:ecs:cn-hangzhou:1234:(disk|snapshot|instance)\/\*$/);
  }
});

t.test('narrowed to a cluster, what is written to must have its tag, and what is made must get it', async (t) => {
  const { Statement } = volumePolicyDocument({ cluster: 'prod' });
  for (const { Action, Resource, Condition } of Statement) {
    if (Action.some((action) => /:Describe/.test(action)) || Resource.every((one) => /instance/.test(one))) continue;
    t.match(JSON.stringify(Condition), /acs:(Resource|Request)Tag\/drayage:cluster":"prod"/);
  }
  const asked = Statement.filter(({ Condition }) => JSON.stringify(Condition ?? {}).includes('RequestTag'));
  t.same(asked.flatMap(({ Action }) => Action).sort(), ['ecs:CreateDisk', 'ecs:CreateSnapshot']);
});

t.test('narrowed to a cluster, nobody else’s disk can be copied to read it', async (t) => {
  const { Statement } = volumePolicyDocument({ cluster: 'prod' });
  const copying = Statement.filter(
    ({ Action, Resource }) => Action.includes('ecs:CreateSnapshot') && Resource.some((one) => /:disk/.test(one)),
  );
  t.equal(copying.length, 1);
  t.same(copying[0]?.Condition, { StringEquals: { 'acs:ResourceTag/drayage:cluster': 'prod' } });
});
