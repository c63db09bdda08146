/** What the tests of the AWS simulator begin with: two hosts in one VPC, and the official SDK's client. */
import { EC2Client, type EC2ClientConfig } from '@aws-sdk/client-ec2';
import { type AwsSim, type AwsSimConfig, startAwsSim } from '../../sim/aws/sim.ts';
import { ManualClock } from '../../sim/core/clock.ts';
import type { Credential } from '../../sim/core/credentials.ts';
import { credentialsOf, type Test } from './aws-sdk.ts';

/** A client of the official SDK, told only where to go and who it is. One attempt unless `more` says otherwise. */
export const client = (aws: AwsSim, key: Credential = aws.key(), more: Partial<EC2ClientConfig> = {}): EC2Client =>
  new EC2Client({
    region: aws.region,
    endpoint: aws.endpoint,
    credentials: credentialsOf(key),
    maxAttempts: 1,
    ...more,
  });

/** A simulator whose clock only the test moves, with one VPC, one subnet and the hosts `a` and `b`. */
export async function awsSite(t: Test, config: AwsSimConfig = {}) {
  const clock = new ManualClock();
  const aws = await startAwsSim({ clock, ...config });
  t.teardown(() => aws.close());
  const vpc = aws.vpc({ cidr: '10.0.0.0/16', cidr6: 'fd00:1::/56' });
  const subnet = aws.subnet({ vpc: vpc.id, cidr: '10.0.1.0/24', cidr6: 'fd00:1::/64' });
  const table = aws.tableOf(subnet.id);
  const host = (name: string, address: string) => {
    const instance = aws.instance({ name, subnet: subnet.id, address, address6: `fd00:1::${address.split('.')[3]}` });
    const [primary] = instance.interfaces;
    if (primary === undefined) throw new Error(`${name} has no interface`);
    return { id: instance.id, eni: primary.id, mac: primary.mac };
  };
  const [a, b] = [host('a', '10.0.1.10'), host('b', '10.0.1.11')];
  const ec2 = client(aws);
  t.teardown(() => ec2.destroy());
  return { aws, clock, vpc, subnet, table: table.id, a, b, ec2 };
}
