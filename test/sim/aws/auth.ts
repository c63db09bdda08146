/** Who asks: signature, region, service, date and session token, refused in each service's own words. */
import { type ApiCall, ApiError, type Core } from '../core/api.ts';
import type { Credential } from '../core/credentials.ts';
import { authFailure, requestExpired } from './errors.ts';
import { readSignature, type Signed, signatureFits } from './sigv4.ts';

/** A service's refusals of a caller. */
export interface AuthRefusals {
  /** No signature, a broken one, or an access key that nobody has. */
  unknown(): ApiError;
  mismatch(message: string): ApiError;
  /** The credentials' time is over. */
  expired(): ApiError;
  /** The request's date is too far in the past or the future. */
  skewed(late: boolean, signed: Signed): ApiError;
}

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';

export const ec2Auth: AuthRefusals = {
  unknown: authFailure,
  mismatch: (message) => new ApiError('SignatureDoesNotMatch', message, 403),
  expired: requestExpired,
  // The real service says AuthFailure to a clock that is ahead, and RequestExpired (as documented) to one that is behind.
  skewed: (late) => (late ? requestExpired() : authFailure()),
};

export const stsAuth: AuthRefusals = {
  unknown: () => new ApiError('InvalidClientTokenId', 'The security token included in the request is invalid.', 403),
  mismatch: (message) => new ApiError('SignatureDoesNotMatch', message, 403),
  expired: () => new ApiError('ExpiredToken', 'The security token included in the request is expired', 403),
  skewed: (late) =>
    new ApiError(
      'SignatureDoesNotMatch',
      late ? 'Signature expired: see the clock.' : 'Signature not yet current: see the clock.',
      403,
    ),
};

export const jsonAuth: AuthRefusals = {
  unknown: () => new ApiError('UnrecognizedClientException', 'The security token included in the request is invalid.'),
  mismatch: (message) => new ApiError('InvalidSignatureException', message),
  expired: () => new ApiError('ExpiredTokenException', 'The security token included in the request is expired'),
  skewed: (late) =>
    new ApiError(
      'InvalidSignatureException',
      late ? 'Signature expired: see the clock.' : 'Signature not yet current: see the clock.',
    ),
};

export interface AuthScope {
  readonly service: string;
  readonly region: string;
  /** Milliseconds that a request's date may be off. */
  readonly skewMs: number;
}

/** The caller's credential; throws ApiError when it is not good. */
export function authenticate(core: Core, { request }: ApiCall, scope: AuthScope, refuse: AuthRefusals): Credential {
  const signed = readSignature(request);
  const credential = signed && core.credentials.find(signed.accessKeyId);
  if (signed === undefined || credential === undefined) throw refuse.unknown();
  if (signed.region !== scope.region) {
    throw refuse.mismatch(`Credential should be scoped to a valid region, not '${signed.region}'.`);
  }
  if (signed.service !== scope.service) {
    throw refuse.mismatch(`Credential should be scoped to correct service: '${scope.service}'.`);
  }
  const behind = core.clock.now() - signed.date;
  if (!(Math.abs(behind) <= scope.skewMs)) throw refuse.skewed(!(behind < 0), signed);
  if (request.headers['x-amz-security-token'] !== credential.token) throw refuse.unknown();
  if (!signatureFits(request, signed, credential.secret)) throw refuse.mismatch(MISMATCH);
  if (core.credentials.expired(credential)) throw refuse.expired();
  return credential;
}

/** The principal's name as refusals tell it. */
export const arnOf = (partition: string, account: string, { principal, token, id }: Credential): string =>
  token === undefined
    ? `arn:${partition}:iam::${account}:user/${principal.name}`
    : `arn:${partition}:sts::${account}:assumed-role/${principal.name}/${id.slice(-8)}`;
