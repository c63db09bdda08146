import t from 'tap';
import { request, started } from './ebs-world.ts';
import { codeOf, context, messageOf } from './scratch.ts';

t.setTimeout(120_000);

t.test(
  'a disk whose key cannot be used vanishes after its making: the token is burned, the next one is not',
  async (t) => {
    const { aws, a } = await started(t, { times: { createMs: 60 } });
    const create = (token: string, key: string) =>
      a.create(request('data', { encrypted: true, key }), token, context());
    const wrong = 'arn:aws:kms:eu-central-1:123456789012:key/none';
    t.match(await messageOf(create('one', wrong)), /^TOKEN_BURNED: .* vanished while it was made: is the key/);
    t.same(aws.disks.volumes(), []);
    const key = aws.disks.key();
    t.equal(await codeOf(create('one', key)), 'TOKEN_BURNED', 'EC2 remembers it');
    t.equal(await codeOf(create('one', key)), 'TOKEN_BURNED', 'and so does the provider');
    t.equal(aws.count({ action: 'CreateVolume' }), 2);
    const { id } = await create('two', key);
    t.match(aws.disks.volumes(), [{ id, encrypted: true, key }]);
  },
);

t.test('hosts that make a volume at once make one disk, though each marks it in its own way', async (t) => {
  const { aws, a, b } = await started(t, { lagMs: 100 });
  const made = await Promise.all(
    [a, b].map((host, n) =>
      host.create(request('data', { tags: { options: '{}', uuid: `of host ${n}` } }), 'token', context()),
    ),
  );
  t.equal(aws.disks.volumes().length, 1);
  t.equal(made[0]?.id, made[1]?.id);
  t.same(made[0]?.tags, made[1]?.tags);
});

t.test('what was just made counts as made before EC2 shows it', async (t) => {
  const { aws, a } = await started(t);
  aws.lagMs = 100_000;
  const { id } = await a.create(request('data'), 'token', context(2_000));
  t.match(await a.describe(id, context()), { id, volume: 'data', state: 'creating' });
  t.match(await a.list(context()), [{ id, volume: 'data' }]);
});

t.test('a new disk that does not show yet is not taken for gone by a host whose clock is ahead', async (t) => {
  const { aws, make } = await started(t, { lagMs: 300 });
  aws.clock.advance(-30_000);
  const { id } = await make();
  t.same(
    aws.disks.volumes().map((one) => one.id),
    [id],
  );
});

t.test('a token whose disk is another volume’s by now gives it to nobody', async (t) => {
  const { aws, a, b, make } = await started(t);
  const { id } = await make('first');
  await b.release(id, context());
  await b.adopt(id, 'second', { options: '{}' }, context());
  // EC2 answers with what it answered then, tags included.
  t.equal(await codeOf(make('first')), 'TOKEN_BURNED');
  t.match(await a.describe(id, context()), { volume: 'second' });
  t.equal(aws.disks.volumes().length, 1);
});
