/** A second, independent client: the vendor's command, as Debian packages it (Python, botocore). */
import t from 'tap';
import { run } from '../../rig/command.ts';
import { awsSite } from './aws-site.ts';

// Python starts slowly where much else is running.
t.setTimeout(240_000);

const AWS = '/usr/bin/aws';

const cli = async (environment: Record<string, string>, ...args: string[]) => {
  // Nothing of this machine's own configuration; AWS_ENDPOINT_URL is unknown to older versions.
  const nothing = { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', AWS_MAX_ATTEMPTS: '1' };
  const { AWS_ENDPOINT_URL = '', ...rest } = environment;
  const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', ...nothing, ...rest };
  const argv = [AWS, '--endpoint-url', AWS_ENDPOINT_URL, '--output', 'json', ...args];
  const { code, stdout, stderr } = await run(argv, { env, timeoutMs: 60_000 });
  return { code, stderr, answer: stdout.trim() === '' ? undefined : (JSON.parse(stdout) as unknown) };
};

t.test('the command makes, lists and replaces routes, and hears the refusals', async (t) => {
  const { aws, table, a, b } = await awsSite(t);
  const env = aws.environment(aws.key());
  const where = ['--route-table-id', table, '--destination-cidr-block', '10.64.3.0/24'];
  t.match(await cli(env, 'ec2', 'create-route', ...where, '--network-interface-id', a.eni), {
    code: 0,
    answer: { Return: true },
  });
  const again = await cli(env, 'ec2', 'create-route', ...where, '--network-interface-id', b.eni);
  t.not(again.code, 0);
  t.match(again.stderr, /RouteAlreadyExists.*CreateRoute.*10\.64\.3\.0\/24/);
  t.match(await cli(env, 'ec2', 'replace-route', ...where, '--network-interface-id', b.eni), { code: 0 });
  const filter = `Name=route-table-id,Values=${table}`;
  t.match(await cli(env, 'ec2', 'describe-route-tables', '--filters', filter), {
    code: 0,
    answer: { RouteTables: [{ Routes: [{}, {}, { NetworkInterfaceId: b.eni, State: 'active' }] }] },
  });
});

t.test('a role’s credentials come from the metadata service; who it is and the quota are told', async (t) => {
  const { aws } = await awsSite(t);
  const env = aws.environment();
  t.match(await cli(env, 'sts', 'get-caller-identity'), {
    code: 0,
    answer: { Account: '123456789012', Arn: /:assumed-role\/drayage\// },
  });
  const quota = ['--service-code', 'vpc', '--quota-code', 'L-93826ACB'];
  t.match(await cli(env, 'service-quotas', 'get-service-quota', ...quota), {
    code: 0,
    answer: { Quota: { QuotaName: 'Routes per route table', Value: 500 } },
  });
  t.match(aws.calls({ action: 'PUT api/token' }).length > 0, true, 'with sessions, as version 2 asks for');
});

t.test('the command makes, attaches and finds volumes', async (t) => {
  const { aws, a } = await awsSite(t);
  const env = aws.environment(aws.key());
  const tags = 'ResourceType=volume,Tags=[{Key=team,Value=web}]';
  const like = ['--availability-zone', `${aws.region}a`, '--size', '10', '--volume-type', 'gp3', '--encrypted'];
  const made = await cli(env, 'ec2', 'create-volume', ...like, '--tag-specifications', tags, '--client-token', 'one');
  t.match(made, { code: 0, answer: { State: 'creating', Size: 10, Encrypted: true, Iops: 3000 } });
  const [volume] = aws.disks.volumes();
  const id = volume?.id ?? '';
  const there = ['--volume-id', id, '--instance-id', a.id, '--device', '/dev/sdf'];
  t.match(await cli(env, 'ec2', 'attach-volume', ...there), { code: 0, answer: { State: 'attaching' } });
  t.match((await cli(env, 'ec2', 'attach-volume', ...there)).stderr, /VolumeInUse/);
  const found = await cli(env, 'ec2', 'describe-volumes', '--filters', 'Name=tag:team,Values=web');
  t.match(found.answer, { Volumes: [{ VolumeId: id, State: 'in-use', Attachments: [{ InstanceId: a.id }] }] });
});

t.test('the command finds file systems', async (t) => {
  const { aws } = await awsSite(t);
  const { id } = aws.files.create({
    ...{ token: 'one', performance: 'generalPurpose', throughput: 'elastic', provisioned: undefined, encrypted: true },
    ...{ key: undefined, zone: undefined, tags: { team: 'web' } },
  });
  t.match(await cli(aws.environment(aws.key()), 'efs', 'describe-file-systems', '--creation-token', 'one'), {
    code: 0,
    answer: { FileSystems: [{ FileSystemId: id, LifeCycleState: 'available', Tags: [{ Key: 'team', Value: 'web' }] }] },
  });
});

t.test('a wrong secret is refused to this client as well', async (t) => {
  const { aws } = await awsSite(t);
  const { code, stderr } = await cli(aws.environment({ ...aws.key(), secret: 'wrong' }), 'ec2', 'describe-vpcs');
  t.not(code, 0);
  t.match(stderr, /SignatureDoesNotMatch/);
});
