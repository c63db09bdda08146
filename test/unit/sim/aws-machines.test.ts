import {
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  DescribeNetworkInterfaceAttributeCommand,
  DescribeNetworkInterfacesCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  ModifyInstanceAttributeCommand,
  ModifyNetworkInterfaceAttributeCommand,
} from '@aws-sdk/client-ec2';
import t from 'tap';
import { refusal } from './aws-sdk.ts';
import { awsSite } from './aws-site.ts';

t.setTimeout(60_000);

t.test('an instance is found by id, name, address and interface; its state is told', async (t) => {
  const { ec2, a, b, aws, subnet, vpc } = await awsSite(t);
  const find = async (Name: string, ...Values: string[]) => {
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ Filters: [{ Name, Values }] }));
    return Reservations.flatMap(({ Instances = [] }) => Instances.map(({ InstanceId }) => InstanceId));
  };
  t.same(await find('tag:Name', 'a'), [a.id]);
  t.same(await find('private-ip-address', '10.0.1.11'), [b.id]);
  t.same(await find('network-interface.network-interface-id', b.eni), [b.id]);
  t.same(await find('vpc-id', vpc.id), [a.id, b.id]);
  aws.stop(a.id);
  t.same(await find('instance-state-name', 'stopped'), [a.id]);
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [b.id] }));
  t.match(Reservations[0]?.Instances?.[0], {
    State: { Code: 16, Name: 'running' },
    PrivateIpAddress: '10.0.1.11',
    SubnetId: subnet.id,
    VpcId: vpc.id,
    Tags: [{ Key: 'Name', Value: 'b' }],
    NetworkInterfaces: [{ NetworkInterfaceId: b.eni, Attachment: { DeviceIndex: 0 }, SourceDestCheck: true }],
  });
});

t.test('a terminated instance is known for a while, without interfaces, and then its id does not exist', async (t) => {
  const { ec2, a, aws } = await awsSite(t);
  aws.terminate(a.id);
  const get = new DescribeInstancesCommand({ InstanceIds: [a.id] });
  const { Reservations = [] } = await ec2.send(get);
  t.match(Reservations[0]?.Instances?.[0], { State: { Code: 48, Name: 'terminated' }, NetworkInterfaces: [] });
  await t.rejects(
    ec2.send(new DescribeNetworkInterfacesCommand({ NetworkInterfaceIds: [a.eni] })),
    refusal('InvalidNetworkInterfaceID.NotFound', 400),
  );
  aws.forget(a.id);
  await t.rejects(ec2.send(get), refusal('InvalidInstanceID.NotFound', 400));
});

t.test('status is of running instances only, unless all are asked for', async (t) => {
  const { ec2, a, b, aws } = await awsSite(t);
  aws.stop(a.id);
  const ids = async (IncludeAllInstances: boolean) =>
    (await ec2.send(new DescribeInstanceStatusCommand({ IncludeAllInstances }))).InstanceStatuses?.map(
      ({ InstanceId }) => InstanceId,
    );
  t.same(await ids(false), [b.id]);
  t.same(await ids(true), [a.id, b.id]);
});

t.test('the source/dest check is read and switched on an interface', async (t) => {
  const { ec2, a, aws, clock } = await awsSite(t, { lagMs: 1000 });
  const read = async () => {
    const command = new DescribeNetworkInterfaceAttributeCommand({
      NetworkInterfaceId: a.eni,
      Attribute: 'sourceDestCheck',
    });
    return (await ec2.send(command)).SourceDestCheck?.Value;
  };
  t.equal(await read(), true);
  await ec2.send(
    new ModifyNetworkInterfaceAttributeCommand({ NetworkInterfaceId: a.eni, SourceDestCheck: { Value: false } }),
  );
  t.equal(aws.sourceDestCheck(a.eni), false);
  t.equal(await read(), true, 'reads are late');
  clock.advance(1000);
  t.equal(await read(), false);
  await t.rejects(
    ec2.send(
      new ModifyNetworkInterfaceAttributeCommand({
        NetworkInterfaceId: 'eni-00000000000000000',
        SourceDestCheck: { Value: false },
      }),
    ),
    refusal('InvalidNetworkInterfaceID.NotFound', 400),
  );
});

t.test('the instance-level switch refuses machines with several interfaces', async (t) => {
  const { ec2, a, b, aws, subnet } = await awsSite(t);
  const off = (InstanceId: string) =>
    ec2.send(new ModifyInstanceAttributeCommand({ InstanceId, SourceDestCheck: { Value: false } }));
  await off(a.id);
  t.equal(aws.sourceDestCheck(a.eni), false);
  aws.networkInterface({ subnet: subnet.id, instance: b.id });
  await t.rejects(off(b.id), { ...refusal('InvalidInstanceID', 400), message: /multiple interfaces/ });
  t.equal(aws.sourceDestCheck(b.eni), true);
});

t.test('interfaces are found by instance and device', async (t) => {
  const { ec2, a, aws, subnet } = await awsSite(t);
  const second = aws.networkInterface({ subnet: subnet.id, instance: a.id });
  const loose = aws.networkInterface({ subnet: subnet.id });
  const { NetworkInterfaces = [] } = await ec2.send(
    new DescribeNetworkInterfacesCommand({
      Filters: [
        { Name: 'attachment.instance-id', Values: [a.id] },
        { Name: 'attachment.device-index', Values: ['1'] },
      ],
    }),
  );
  t.match(NetworkInterfaces, [{ NetworkInterfaceId: second.id, Status: 'in-use', MacAddress: second.mac }]);
  t.equal(NetworkInterfaces.length, 1);
  const one = await ec2.send(new DescribeNetworkInterfacesCommand({ NetworkInterfaceIds: [loose.id] }));
  t.match(one.NetworkInterfaces, [{ Status: 'available' }]);
  t.equal(one.NetworkInterfaces?.[0]?.Attachment, undefined);
});

t.test('VPCs and subnets tell their CIDRs of both families', async (t) => {
  const { ec2, vpc, subnet } = await awsSite(t);
  const { Vpcs = [] } = await ec2.send(new DescribeVpcsCommand({ VpcIds: [vpc.id] }));
  t.match(Vpcs, [
    {
      CidrBlock: '10.0.0.0/16',
      CidrBlockAssociationSet: [{ CidrBlock: '10.0.0.0/16', CidrBlockState: { State: 'associated' } }],
      Ipv6CidrBlockAssociationSet: [{ Ipv6CidrBlock: 'fd00:1::/56' }],
    },
  ]);
  const { Subnets = [] } = await ec2.send(
    new DescribeSubnetsCommand({ Filters: [{ Name: 'vpc-id', Values: [vpc.id] }] }),
  );
  t.match(Subnets, [{ SubnetId: subnet.id, CidrBlock: '10.0.1.0/24', AvailabilityZone: 'eu-central-1a' }]);
  await t.rejects(
    ec2.send(new DescribeVpcsCommand({ VpcIds: ['vpc-00000000000000000'] })),
    refusal('InvalidVpcID.NotFound', 400),
  );
});
