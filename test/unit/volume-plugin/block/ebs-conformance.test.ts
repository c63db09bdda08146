import t from 'tap';
import { volumePolicyDocument } from '../../../../shared/cloud/aws/volume-policy.ts';
import { diskProviderConformance } from '../../../conformance/disk-provider.ts';
import { ebsWorld } from './ebs-world.ts';

t.setTimeout(120_000);

const GIB = 2 ** 30;

const used = new Set<string>();
const refused: string[] = [];

t.test('volumes of EBS are disks, also with no more rights than the policy that is printed', (t) =>
  diskProviderConformance(t, async (t) => {
    const { host, aws } = await ebsWorld(t, { policy: volumePolicyDocument({ cluster: 'test' }) });
    t.teardown(() => {
      for (const { service, action, code } of aws.calls()) {
        if (service === 'ec2') used.add(`ec2:${action}`);
        if (code === 'UnauthorizedOperation') refused.push(action);
      }
    });
    return { host, size: GIB, growth: GIB, devices: false, rounds: 20, lateMs: 0 };
  }),
);

t.test('the policy that is printed allows every call that was made, and has hardly any other', async (t) => {
  const printed = volumePolicyDocument().Statement.flatMap(({ Action }) => Action);
  t.same(
    [...used].filter((action) => !printed.includes(action)),
    [],
  );
  const unused = printed.filter((action) => !used.has(action));
  t.same(unused, ['ec2:DescribeInstanceTypes'], 'which is asked when a host is full');
  // A disk that is not there has none of our tags.
  t.same([...new Set(refused)].sort(), ['DeleteSnapshot', 'DeleteVolume', 'DetachVolume']);
});

t.test('also where states last, and what was written shows later', (t) =>
  diskProviderConformance(t, async (t) => {
    const times = {
      createMs: 50,
      attachMs: 40,
      detachMs: 40,
      deleteMs: 50,
      snapshotMs: 60,
      resizeMs: 40,
      optimizeMs: 20,
    };
    const { host } = await ebsWorld(t, { lagMs: 50, times });
    return { host, size: GIB, growth: GIB, devices: false, rounds: 3, lateMs: 10_000 };
  }),
);
