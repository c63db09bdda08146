import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import type { Handler } from '../shared/plugin/server.ts';
import {
  type Fields,
  flag,
  list,
  optionalRecord,
  optionalText,
  record,
  text,
  textMap,
  wholeNumber,
} from '../shared/plugin/wire.ts';
import type { Driver } from './driver.ts';
import type { EndpointRequest } from './endpoints.ts';
import type { Ipam } from './ipam.ts';
import type { NetworkRequest, PoolData } from './network.ts';
import { ADDRESS_SPACE } from './pool-plan.ts';
import type { PortRequest } from './ports/port-request.ts';

/**
 * Docker's words, translated: `NetworkDriver.*` and `IpamDriver.*` bodies in, the driver's calls, answers out.
 * Field names are the engine's (libnetwork `drivers/remote/api` and `ipams/remote/api`).
 */

const GENERIC = 'com.docker.network.generic';
const PORT_MAP = 'com.docker.network.portmap';
const GATEWAY_REQUEST = 'com.docker.network.gateway';

const identifier = (fields: Fields, field: string): string => {
  const value = text(fields, field);
  // Identifiers become link names and state keys; swarm's are 25 characters of base 36, the others 64 of hex.
  if (!/^[a-z0-9]{12,64}$/.test(value)) {
    throw new PluginError('BAD_REQUEST', { reason: `${field} must be an identifier of 12 to 64 letters and digits` });
  }
  return value;
};

const poolData = (fields: Fields, field: string): PoolData[] =>
  list(fields, field).map((entry) => ({
    addressSpace: optionalText(entry, 'AddressSpace') ?? '',
    pool: text(entry, 'Pool'),
    gateway: optionalText(entry, 'Gateway'),
    auxiliary: Object.values(textMap(entry, 'AuxAddresses')),
  }));

const networkRequest = (fields: Fields): NetworkRequest => {
  const options = optionalRecord(fields, 'Options');
  return {
    id: identifier(fields, 'NetworkID'),
    options: textMap(options, GENERIC),
    internal: flag(options, 'com.docker.network.internal'),
    pools: [...poolData(fields, 'IPv4Data'), ...poolData(fields, 'IPv6Data')],
  };
};

/** `10.64.3.5/12` → `10.64.3.5`: the prefix length is the pool's, which the driver knows. */
const bareAddress = (value: string | undefined): string | undefined => value?.split('/')[0];

const endpointRequest = (fields: Fields): EndpointRequest => {
  const face = optionalRecord(fields, 'Interface');
  return {
    id: identifier(fields, 'EndpointID'),
    network: identifier(fields, 'NetworkID'),
    address: bareAddress(optionalText(face, 'Address')),
    address6: bareAddress(optionalText(face, 'AddressIPv6')),
    mac: optionalText(face, 'MacAddress')?.toLowerCase(),
  };
};

const portRequest = (fields: Fields): PortRequest => {
  const protocol = wholeNumber(fields, 'Proto', 255);
  if (protocol !== 6 && protocol !== 17 && protocol !== 132) {
    throw new PluginError('BAD_REQUEST', { reason: `Proto must be 6 (TCP), 17 (UDP) or 132 (SCTP), not ${protocol}` });
  }
  return {
    protocol,
    containerIp: optionalText(fields, 'IP'),
    containerPort: wholeNumber(fields, 'Port', 65_535),
    hostIp: optionalText(fields, 'HostIP'),
    hostPort: wholeNumber(fields, 'HostPort', 65_535),
    hostPortEnd: wholeNumber(fields, 'HostPortEnd', 65_535),
  };
};

/** What is the same at all times, and so is answered before the state is loaded. */
export const CONSTANT_METHODS: Record<string, Handler> = {
  '/NetworkDriver.GetCapabilities': async () => ({ Scope: 'local', ConnectivityScope: 'global', GwAllocChecker: true }),
  // The gateway's address tells CreateNetwork which of the host's prefixes is meant, so it is always wanted.
  '/NetworkDriver.GwAllocCheck': async () => ({ SkipIPv4: false, SkipIPv6: false }),
  // PoolIDs say all that a replay could: see Ipam.
  '/IpamDriver.GetCapabilities': async () => ({ RequiresMACAddress: false, RequiresRequestReplay: false }),
  '/IpamDriver.GetDefaultAddressSpaces': async () => ({
    LocalDefaultAddressSpace: ADDRESS_SPACE,
    GlobalDefaultAddressSpace: ADDRESS_SPACE,
  }),
};

/** The methods that need the plugin's state. */
export function protocol(driver: Driver, ipam: Ipam): Record<string, Handler> {
  const ids = (body: unknown): [network: string, endpoint: string] => {
    const fields = record(body, 'the request');
    return [identifier(fields, 'NetworkID'), identifier(fields, 'EndpointID')];
  };
  return {
    '/NetworkDriver.CreateNetwork': async (body, c) => {
      await driver.createNetwork(networkRequest(record(body, 'the request')), c);
      return {};
    },
    '/NetworkDriver.DeleteNetwork': async (body, c) => {
      await driver.deleteNetwork(identifier(record(body, 'the request'), 'NetworkID'), c);
      return {};
    },
    '/NetworkDriver.CreateEndpoint': async (body, c) => {
      const request = endpointRequest(record(body, 'the request'));
      const { mac } = await driver.endpoints.create(request, c);
      // Answering a field that the engine supplied is an error to it.
      return { Interface: request.mac === undefined ? { MacAddress: mac } : {} };
    },
    '/NetworkDriver.Join': async (body, c) => {
      const [network, endpoint] = ids(body);
      const sandbox = optionalText(record(body, 'the request'), 'SandboxKey');
      const attachment = await driver.endpoints.join(network, endpoint, sandbox, c);
      return {
        InterfaceName: { SrcName: attachment.source, DstPrefix: 'eth' },
        Gateway: attachment.gateway ?? '',
        GatewayIPv6: attachment.gateway6 ?? '',
        StaticRoutes: attachment.routes.map(({ destination, via }) =>
          via === undefined
            ? { Destination: destination, RouteType: 1 }
            : { Destination: destination, RouteType: 0, NextHop: via },
        ),
      };
    },
    '/NetworkDriver.ProgramExternalConnectivity': async (body, c) => {
      const [network, endpoint] = ids(body);
      const options = optionalRecord(record(body, 'the request'), 'Options');
      await driver.endpoints.publish(network, endpoint, list(options, PORT_MAP).map(portRequest), c);
      return {};
    },
    '/NetworkDriver.RevokeExternalConnectivity': async (body, c) => {
      const [network, endpoint] = ids(body);
      await driver.endpoints.revoke(network, endpoint, c);
      return {};
    },
    '/NetworkDriver.EndpointOperInfo': async (body) => {
      const [network, endpoint] = ids(body);
      return { Value: driver.endpoints.info(network, endpoint) };
    },
    '/NetworkDriver.Leave': async (body, c) => {
      const [network, endpoint] = ids(body);
      await driver.endpoints.leave(network, endpoint, c);
      return {};
    },
    '/NetworkDriver.DeleteEndpoint': async (body, c) => {
      const [network, endpoint] = ids(body);
      await driver.endpoints.delete(network, endpoint, c);
      return {};
    },
    // Peers are learnt from the route provider, which also knows those outside of the swarm.
    '/NetworkDriver.DiscoverNew': async () => ({}),
    '/NetworkDriver.DiscoverDelete': async () => ({}),

    '/IpamDriver.RequestPool': async (body, c) => {
      const fields = record(body, 'the request');
      const pool = await ipam.requestPool(
        {
          addressSpace: optionalText(fields, 'AddressSpace') ?? ADDRESS_SPACE,
          pool: optionalText(fields, 'Pool'),
          range: optionalText(fields, 'SubPool'),
          options: textMap(fields, 'Options'),
          v6: flag(fields, 'V6'),
        },
        c,
      );
      return { PoolID: pool.id, Pool: pool.pool, Data: {} };
    },
    '/IpamDriver.ReleasePool': async (body, c) => {
      await ipam.releasePool(text(record(body, 'the request'), 'PoolID'), c);
      return {};
    },
    '/IpamDriver.RequestAddress': async (body, c) => {
      const fields = record(body, 'the request');
      const options = textMap(fields, 'Options');
      const address = await ipam.requestAddress(
        {
          pool: text(fields, 'PoolID'),
          address: optionalText(fields, 'Address'),
          gateway: options['RequestAddressType'] === GATEWAY_REQUEST,
        },
        c,
      );
      return { Address: address, Data: {} };
    },
    '/IpamDriver.ReleaseAddress': async (body, c) => {
      const fields = record(body, 'the request');
      await ipam.releaseAddress(text(fields, 'PoolID'), text(fields, 'Address'), c);
      return {};
    },
  };
}

/** Takes back what a request handed out when its answer reached nobody: Docker does not know that it has it. */
export async function takeBack(ipam: Ipam, method: string, body: unknown, result: unknown, c: Context): Promise<void> {
  const answer = record(result, 'the answer');
  if (method === '/IpamDriver.RequestPool') await ipam.releasePool(text(answer, 'PoolID'), c);
  if (method === '/IpamDriver.RequestAddress') {
    const address = text(answer, 'Address').split('/')[0] ?? '';
    await ipam.releaseAddress(text(record(body, 'the request'), 'PoolID'), address, c);
  }
}
