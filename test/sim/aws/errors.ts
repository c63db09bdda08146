/** EC2's refusals, with its codes, statuses and sentences. From the API reference's error list, and from what users of the real service have quoted. */
import { ApiError } from '../core/api.ts';

/** Kinds of ids → what EC2 calls them in its codes and its sentences. */
const kinds = {
  rtb: ['RouteTable', 'routeTable'],
  eni: ['NetworkInterface', 'networkInterface'],
  i: ['Instance', 'instance'],
  vpc: ['Vpc', 'vpc'],
  subnet: ['Subnet', 'subnet'],
  igw: ['InternetGateway', 'internetGateway'],
  vgw: ['VpnGateway', 'vpnGateway'],
  tgw: ['TransitGateway', 'transitGateway'],
  pcx: ['VpcPeeringConnection', 'vpcPeeringConnection'],
  nat: ['NatGateway', 'natGateway'],
  eigw: ['EgressOnlyInternetGateway', 'egressOnlyInternetGateway'],
  vol: ['Volume', 'volume'],
  snap: ['Snapshot', 'snapshot'],
} as const;

export type IdKind = keyof typeof kinds;

const isDisk = (kind: IdKind): boolean => kind === 'vol' || kind === 'snap';

export const notFound = (kind: IdKind, ids: readonly string[]): ApiError => {
  const [code, word] = kinds[kind];
  // Disks came before the other things, and are spelled differently.
  if (isDisk(kind)) return new ApiError(`Invalid${code}.NotFound`, `The ${word} '${ids[0]}' does not exist.`);
  const text = ids.length === 1 ? `ID '${ids[0]}' does not exist` : `IDs '${ids.join(', ')}' do not exist`;
  return new ApiError(`Invalid${code}ID.NotFound`, `The ${word} ${text}`);
};

/** Throws when an id could not be one of this kind. */
export const checkId = (kind: IdKind, id: string): void => {
  if (new RegExp(`^${kind}-([0-9a-f]{8}|[0-9a-f]{17})$`).test(id)) return;
  const [code, word] = kinds[kind];
  if (isDisk(kind)) {
    throw new ApiError(
      kind === 'vol' ? 'InvalidParameterValue' : 'InvalidSnapshotID.Malformed',
      `Value (${id}) for parameter ${word}Id is invalid. Expected: '${kind}-...'.`,
    );
  }
  // Instances alone are spelled differently.
  const name = kind === 'i' ? 'InvalidInstanceID.Malformed' : `Invalid${code}Id.Malformed`;
  throw new ApiError(name, `Invalid id: "${id}" (expecting "${kind}-...")`);
};

export const missing = (parameter: string): ApiError =>
  new ApiError('MissingParameter', `The request must contain the parameter ${parameter}`);

export const invalid = (message: string): ApiError => new ApiError('InvalidParameterValue', message);

export const combination = (message: string): ApiError => new ApiError('InvalidParameterCombination', message);

export const authFailure = (): ApiError =>
  new ApiError('AuthFailure', 'AWS was not able to validate the provided access credentials', 401);

export const requestExpired = (): ApiError => new ApiError('RequestExpired', 'Request has expired.');

export const throttled = (): ApiError => new ApiError('RequestLimitExceeded', 'Request limit exceeded.', 503);

export const unavailable = (): ApiError =>
  new ApiError('Unavailable', 'The service is unavailable. Please try again shortly.', 503);

/** Codes that come with a status other than 400. */
const statuses: Readonly<Record<string, number>> = {
  AuthFailure: 401,
  InvalidClientTokenId: 403,
  SignatureDoesNotMatch: 403,
  UnauthorizedOperation: 403,
  ExpiredToken: 403,
  OptInRequired: 403,
  DryRunOperation: 412,
  InternalError: 500,
  InternalFailure: 500,
  RequestLimitExceeded: 503,
  Throttling: 400,
  Unavailable: 503,
  ServiceUnavailable: 503,
  InsufficientCapacity: 503,
};

export const named = (code: string): ApiError => {
  const known = [authFailure(), requestExpired(), throttled(), unavailable()].find((error) => error.code === code);
  return known ?? new ApiError(code, `The simulator was told to fail this call with ${code}.`, statuses[code] ?? 400);
};
