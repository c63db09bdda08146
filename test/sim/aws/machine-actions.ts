/** DescribeInstances, DescribeInstanceStatus, DescribeNetworkInterfaces and the attributes of both. */
import type { Action, Actions, Surroundings } from './action.ts';
import { checkId, type IdKind, invalid, missing, notFound } from './errors.ts';
import { booleanOf, type FilterTable, filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import { severalInterfaces } from './route-actions.ts';
import type { Storage } from './storage.ts';
import type { Instance, InstanceState, Interface, World } from './world.ts';
import type { Xml } from './xml.ts';

const stateCodes: Readonly<Record<InstanceState, number>> = {
  pending: 0,
  running: 16,
  'shutting-down': 32,
  terminated: 48,
  stopping: 64,
  stopped: 80,
};

/** Those of `all` that the parameter `name` names, or all. */
export const named = <T extends { readonly id: string }>(
  all: ReadonlyMap<string, T>,
  kind: IdKind,
  ids: readonly string[],
): T[] => {
  for (const id of ids) checkId(kind, id);
  const unknown = ids.filter((id) => !all.has(id));
  if (unknown.length > 0) throw notFound(kind, unknown);
  return [...all.values()].filter(({ id }) => ids.length === 0 || ids.includes(id));
};

const nameTag = ({ name }: { readonly name: string }): Record<string, string> => (name === '' ? {} : { Name: name });

/** Whether the check is on, as a reader is shown it. */
const checkOf = (world: World, id: string): boolean => world.sourceDestCheck.seen(id)?.on ?? true;

const privateName = (world: World, address: string): string =>
  `ip-${address.replaceAll('.', '-')}.${world.region}.compute.internal`;

const attachment = (world: World, { instance, device, attachment: id }: Interface): Xml =>
  instance === undefined
    ? undefined
    : {
        attachmentId: id,
        instanceId: instance,
        instanceOwnerId: world.account,
        deviceIndex: device,
        status: 'attached',
        deleteOnTermination: true,
      };

const interfaceElements = (world: World, each: Interface): Record<string, Xml> => ({
  networkInterfaceId: each.id,
  subnetId: each.subnet,
  vpcId: each.vpc,
  availabilityZone: world.subnets.get(each.subnet)?.zone,
  description: '',
  ownerId: world.account,
  requesterManaged: false,
  interfaceType: 'interface',
  status: each.instance === undefined ? 'available' : 'in-use',
  macAddress: each.mac,
  privateIpAddress: each.addresses[0],
  privateDnsName: privateName(world, each.addresses[0] ?? ''),
  sourceDestCheck: checkOf(world, each.id),
  groupSet: [],
  attachment: attachment(world, each),
  privateIpAddressesSet: each.addresses.map((privateIpAddress, n) => ({ privateIpAddress, primary: n === 0 })),
  ipv6AddressesSet: each.addresses6.map((ipv6Address) => ({ ipv6Address })),
  tagSet: [],
});

const blockDevices = (storage: Storage, instance: string): Xml =>
  storage.volumes.visible().flatMap(([, { id, attachment }]) => {
    if (attachment?.instance !== instance) return [];
    const { device, state, since, deleteOnTermination } = attachment;
    const status = state === 'busy' ? 'detaching' : state;
    const attachTime = new Date(since).toISOString();
    return [{ deviceName: device, ebs: { volumeId: id, status, attachTime, deleteOnTermination } }];
  });

const instanceElements = (world: World, storage: Storage, instance: Instance): Record<string, Xml> => {
  const interfaces = world.interfacesOf(instance.id);
  const [primary] = interfaces;
  const address = primary?.addresses[0];
  return {
    instanceId: instance.id,
    imageId: 'ami-0123456789abcdef0',
    instanceState: { code: stateCodes[instance.state], name: instance.state },
    privateDnsName: address === undefined ? '' : privateName(world, address),
    instanceType: instance.type,
    launchTime: new Date(instance.launched).toISOString(),
    placement: {
      availabilityZone: world.zoneOf(instance.id),
      tenancy: 'default',
    },
    privateIpAddress: address,
    subnetId: primary?.subnet,
    vpcId: primary?.vpc,
    architecture: 'x86_64',
    rootDeviceType: 'ebs',
    rootDeviceName: '/dev/xvda',
    blockDeviceMapping: blockDevices(storage, instance.id),
    sourceDestCheck: primary === undefined ? undefined : checkOf(world, primary.id),
    networkInterfaceSet: interfaces.map((each) => interfaceElements(world, each)),
    tagSet: tagSet(nameTag(instance)),
    metadataOptions: { state: 'applied', httpTokens: 'required', httpPutResponseHopLimit: 2, httpEndpoint: 'enabled' },
  };
};

const instanceFilters = (world: World): FilterTable<Instance> => {
  const through =
    (look: (each: Interface) => readonly string[]) =>
    ({ id }: Instance) =>
      world.interfacesOf(id).flatMap(look);
  const primary = (look: (each: Interface) => string | undefined) => (instance: Instance) => {
    const [first] = world.interfacesOf(instance.id);
    const value = first === undefined ? undefined : look(first);
    return value === undefined ? [] : [value];
  };
  return {
    'instance-id': ({ id }) => [id],
    'instance-state-name': ({ state }) => [state],
    'instance-state-code': ({ state }) => [String(stateCodes[state])],
    'vpc-id': primary(({ vpc }) => vpc),
    'subnet-id': primary(({ subnet }) => subnet),
    'availability-zone': primary(({ subnet }) => world.subnets.get(subnet)?.zone),
    'private-ip-address': primary(({ addresses }) => addresses[0]),
    'private-dns-name': primary(({ addresses }) => privateName(world, addresses[0] ?? '')),
    'network-interface.network-interface-id': through(({ id }) => [id]),
    'network-interface.addresses.private-ip-address': through(({ addresses }) => addresses),
    'network-interface.mac-address': through(({ mac }) => [mac]),
  };
};

const describeInstances = (parameters: Parameters, { world, storage, pageSize }: Surroundings) => {
  const all = named(world.instances, 'i', listOf(parameters, 'InstanceId'));
  const found = filtered(all, parameters, instanceFilters(world), nameTag);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'InstanceId' });
  return {
    reservationSet: items.map((instance) => ({
      reservationId: instance.id.replace(/^i-/, 'r-'),
      ownerId: world.account,
      groupSet: [],
      instancesSet: [instanceElements(world, storage, instance)],
    })),
    nextToken: next,
  };
};

/** Without IncludeAllInstances only running ones are told of. */
const describeStatus = (parameters: Parameters, { world, pageSize }: Surroundings) => {
  const all = named(world.instances, 'i', listOf(parameters, 'InstanceId'));
  const everything = booleanOf(parameters, 'IncludeAllInstances') ?? false;
  const found = filtered(all, parameters, instanceFilters(world), nameTag);
  const shown = found.filter(({ state }) => everything || state === 'running');
  const { items, next } = page(shown, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'InstanceId' });
  return {
    instanceStatusSet: items.map(({ id, state }) => ({
      instanceId: id,
      instanceState: { code: stateCodes[state], name: state },
      instanceStatus: { status: state === 'running' ? 'ok' : 'not-applicable' },
      systemStatus: { status: state === 'running' ? 'ok' : 'not-applicable' },
    })),
    nextToken: next,
  };
};

const interfaceFilters = (world: World): FilterTable<Interface> => ({
  'network-interface-id': ({ id }) => [id],
  'vpc-id': ({ vpc }) => [vpc],
  'subnet-id': ({ subnet }) => [subnet],
  'mac-address': ({ mac }) => [mac],
  'private-ip-address': ({ addresses }) => addresses.slice(0, 1),
  'addresses.private-ip-address': ({ addresses }) => addresses,
  'ipv6-addresses.ipv6-address': ({ addresses6 }) => addresses6,
  'attachment.instance-id': ({ instance }) => (instance === undefined ? [] : [instance]),
  'attachment.device-index': ({ device }) => [String(device)],
  'source-dest-check': ({ id }) => [String(checkOf(world, id))],
  status: ({ instance }) => [instance === undefined ? 'available' : 'in-use'],
});

const describeInterfaces = (parameters: Parameters, { world, pageSize }: Surroundings) => {
  const all = named(world.interfaces, 'eni', listOf(parameters, 'NetworkInterfaceId'));
  const found = filtered(all, parameters, interfaceFilters(world), () => ({}));
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'NetworkInterfaceId' });
  return { networkInterfaceSet: items.map((each) => interfaceElements(world, each)), nextToken: next };
};

const interfaceNamed = (parameters: Parameters, world: World): Interface => {
  const { NetworkInterfaceId: id } = parameters;
  if (id === undefined) throw missing('networkInterfaceId');
  const [found] = named(world.interfaces, 'eni', [id]);
  if (found === undefined) throw notFound('eni', [id]);
  return found;
};

const describeInterfaceAttribute = (parameters: Parameters, { world }: Surroundings): Record<string, Xml> => {
  const { id } = interfaceNamed(parameters, world);
  const { Attribute } = parameters;
  if (Attribute === 'sourceDestCheck') {
    return { networkInterfaceId: id, sourceDestCheck: { value: checkOf(world, id) } };
  }
  if (Attribute === 'description') return { networkInterfaceId: id, description: { value: '' } };
  throw invalid(`Value (${Attribute}) for parameter attribute is invalid. Unknown network interface attribute`);
};

const modifyInterface = (parameters: Parameters, { world }: Surroundings): Record<string, Xml> => {
  const { id } = interfaceNamed(parameters, world);
  const on = booleanOf(parameters, 'SourceDestCheck.Value');
  if (on === undefined) throw missing('attribute to modify');
  world.sourceDestCheck.set(id, { on });
  return { return: true };
};

/** The instance-level switch: only for machines with one interface. */
const modifyInstance = (parameters: Parameters, { world }: Surroundings): Record<string, Xml> => {
  const { InstanceId: id } = parameters;
  if (id === undefined) throw missing('instanceId');
  named(world.instances, 'i', [id]);
  const on = booleanOf(parameters, 'SourceDestCheck.Value');
  if (on === undefined) throw missing('attribute to modify');
  const [primary, second] = world.interfacesOf(id);
  if (primary === undefined) throw notFound('i', [id]);
  if (second !== undefined) throw severalInterfaces(id);
  world.sourceDestCheck.set(primary.id, { on });
  return { return: true };
};

const list = (ids: string, run: Action['run'], more: readonly string[] = []): Action => ({
  accepts: ['Filter', ids, 'MaxResults', 'NextToken', ...more],
  run,
});

export const machineActions: Actions = {
  DescribeInstances: list('InstanceId', describeInstances),
  DescribeInstanceStatus: list('InstanceId', describeStatus, ['IncludeAllInstances']),
  DescribeNetworkInterfaces: list('NetworkInterfaceId', describeInterfaces),
  DescribeNetworkInterfaceAttribute: { accepts: ['NetworkInterfaceId', 'Attribute'], run: describeInterfaceAttribute },
  ModifyNetworkInterfaceAttribute: { accepts: ['NetworkInterfaceId', 'SourceDestCheck'], run: modifyInterface },
  ModifyInstanceAttribute: { accepts: ['InstanceId', 'SourceDestCheck'], run: modifyInstance },
};
