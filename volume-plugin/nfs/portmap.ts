import { isIPv6 } from 'node:net';
import type { Context } from '../../shared/context.ts';
import type { RpcCall } from './rpc.ts';
import { withConnection } from './rpc-connection.ts';
import { MalformedXdr } from './xdr.ts';

/**
 * The portmapper (rpcbind), which knows the ports of a host's RPC programs. Version 2 is everywhere and knows IPv4 only;
 * version 3 tells addresses of IPv6. RFC 1833.
 */
export const PORTMAP_PORT = 111;

const PROGRAM = 100000;
/** GETPORT of version 2, GETADDR of version 3. */
const GET = 3;
const TCP = 6;
const LONGEST_ADDRESS = 128;

/** Asks which TCP port a program has; undefined: it has none. Errors: RpcError. */
export const askPort = (
  at: { readonly address: string; readonly port: number },
  program: number,
  version: number,
  ms: number,
  c: Context,
): Promise<number | undefined> => {
  const call = isIPv6(at.address) ? getAddress(program, version) : getPort(program, version);
  return withConnection({ ...at, from: 'any' }, (connection, step) => connection.call(call, step), ms, c);
};

const getPort = (program: number, version: number): RpcCall<number | undefined> => ({
  program: PROGRAM,
  version: 2,
  procedure: GET,
  write: (args) => args.u32(program).u32(version).u32(TCP).u32(0),
  read: (results) => validPort(results.u32()),
});

const getAddress = (program: number, version: number): RpcCall<number | undefined> => ({
  program: PROGRAM,
  version: 3,
  procedure: GET,
  write: (args) => args.u32(program).u32(version).text('tcp6').text('').text(''),
  read: (results) => portOf(results.text(LONGEST_ADDRESS)),
});

/** The last two numbers of `::1.8.1` are the bytes of a port. */
const portOf = (address: string): number | undefined => {
  if (address === '') return undefined;
  const [, high, low] = /\.(\d{1,3})\.(\d{1,3})$/.exec(address) ?? [];
  if (high === undefined || low === undefined) throw new MalformedXdr('no address');
  return validPort(Number(high) * 256 + Number(low));
};

const validPort = (port: number): number | undefined => {
  if (port > 0xffff) throw new MalformedXdr(`no port: ${port}`);
  return port === 0 ? undefined : port;
};
