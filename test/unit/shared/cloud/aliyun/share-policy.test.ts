import t from 'tap';
import { SHARE_PERMISSIONS, sharePolicyDocument } from '../../../../../shared/cloud/aliyun/share-policy.ts';

t.test('every permission is in the policy, whatever it is narrowed to, and has its reason', async (t) => {
  const all = SHARE_PERMISSIONS.map(({ action }) => action).sort();
  for (const scope of [{}, { region: 'cn-hangzhou', account: '1234' }]) {
    const actions = sharePolicyDocument(scope).Statement.flatMap(({ Action }) => Action);
    t.same([...new Set(actions)].sort(), all);
  }
  for (const { why } of SHARE_PERMISSIONS) t.match(why, /^[A-Z].{10,}\.$/);
});

t.test('reading is not limited; writing is, to the account and to kinds of things', async (t) => {
  const [reads, ...writes] = sharePolicyDocument({ region: 'cn-hangzhou', account: '1234' }).Statement;
  t.same(reads?.Resource, ['*']);
  t.ok(reads?.Action.every((action) => /^nas:Describe/.test(action)));
  for (const { Action, Resource } of writes) {
    t.notOk(Action.some((action) => /:Describe/.test(action)));
    t.match(Resource.join(), /^acs:(nas|vpc):cn-hangzhou:1234:(filesystem\/\*|vswitch\/\*|accessgroup\/drayage-\*)$/);
  }
});

t.test('nothing that people have files on can be removed with it', async (t) => {
  const actions = sharePolicyDocument().Statement.flatMap(({ Action }) => Action);
  t.same(
    actions.filter((action) => /Delete/.test(action)),
    ['nas:DeleteAccessGroup'],
  );
});
