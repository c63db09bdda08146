/** The part that all of the vendor's RPC services share: who asks, JSON in the vendor's shapes, refusals in its words. */
import { type ApiCall, ApiError, type Core, type Service } from '../core/api.ts';
import type { Clock } from '../core/clock.ts';
import type { Credential } from '../core/credentials.ts';
import type { HttpReply } from '../core/http.ts';
import type { Throttle } from '../core/rates.ts';
import { type Actions, checkNames } from './parameters.ts';
import { readSigned } from './signature.ts';

export type Json = Readonly<Record<string, unknown>>;

/** A request may be this old or early. */
const WINDOW_MS = 15 * 60_000;

/** Parameters of V1 that say who asks; they are none of the action's. */
const ENVELOPE = new Set([
  'AccessKeyId',
  'Action',
  'BearerToken',
  'Format',
  'SecurityToken',
  'Signature',
  'SignatureMethod',
  'SignatureNonce',
  'SignatureType',
  'SignatureVersion',
  'Timestamp',
  'Version',
]);

/** What the vendor says with codes that are asked for by name. Sources: its lists of common and of VPC errors. */
const USUAL: Readonly<Record<string, readonly [message: string, status: number]>> = {
  'Forbidden.RAM': ["User not authorized to operate on the specified resource, or this API doesn't support RAM.", 403],
  InternalError: ['The request processing has failed due to some unknown error, exception or failure.', 500],
  'InvalidAccessKeyId.Inactive': ['Specified access key is disabled.', 403],
  'InvalidAccessKeyId.NotFound': ['Specified access key is not found.', 404],
  'InvalidSecurityToken.Expired': ['Specified SecurityToken is expired.', 400],
  LastTokenProcessing: ['The last token request is processing.', 400],
  OperationConflict: ['Request was denied due to conflict with a previous request.', 400],
  ServiceUnavailable: ['The request has failed due to a temporary failure of the server.', 503],
  SystemBusy: ['The system is busy. Please try again later.', 400],
  TaskConflict: ['The operation is too frequent, please wait a moment and try again.', 400],
  Throttling: ['Request was denied due to request throttling.', 400],
  'Throttling.Api': ['Request was denied due to api flow control.', 400],
  'Throttling.User': ['Request was denied due to user flow control.', 400],
  UnknownError: ['An error occurred while processing your request.', 400],
};

/** An error with the vendor's own sentence. */
export const usual = (code: string): ApiError => {
  const [message, status] = USUAL[code] ?? ['The request was refused.', 400];
  return new ApiError(code, message, status);
};

const missing = (name: string): ApiError => new ApiError(`Missing${name}`, `${name} is mandatory for this action.`);

/** Nonces seen lately, each with the request that bore it. */
class Nonces {
  readonly #seen = new Map<string, { readonly request: string; readonly until: number }>();

  /** False when another request had it. */
  take(nonce: string, request: string, now: number): boolean {
    const found = this.#seen.get(nonce);
    if (found !== undefined && found.until > now && found.request !== request) return false;
    this.#seen.set(nonce, { request, until: now + WINDOW_MS });
    return true;
  }
}

/** What is the same for all services of one account. */
export class Gate {
  readonly #core: Core;
  readonly #nonces = new Nonces();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Whose signature this is; every refusal in the order in which the vendor's gateway makes them. */
  authenticate(call: ApiCall): Credential {
    const signed = readSigned(call.request);
    const now = this.#core.clock.now();
    if (signed.keyId === '') throw missing('AccessKeyId');
    if (signed.timestamp === '') throw missing('Timestamp');
    if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(signed.timestamp)) {
      throw new ApiError('InvalidTimeStamp.Format', 'Specified time stamp or date value is not well formatted.');
    }
    if (!(Math.abs(Date.parse(signed.timestamp) - now) <= WINDOW_MS)) {
      throw new ApiError('InvalidTimeStamp.Expired', 'Specified time stamp or date value is expired.');
    }
    const credential = this.#core.credentials.find(signed.keyId);
    if (credential === undefined) throw usual('InvalidAccessKeyId.NotFound');
    this.#checkToken(credential, signed.token);
    const mismatch = signed.mismatch(credential.secret);
    if (mismatch !== undefined) throw new ApiError('SignatureDoesNotMatch', mismatch);
    if (signed.nonce === '') throw missing('SignatureNonce');
    if (!this.#nonces.take(`${signed.keyId} ${signed.nonce}`, call.requestId, now)) {
      throw new ApiError('SignatureNonceUsed', 'Specified signature nonce was used already.');
    }
    return credential;
  }

  #checkToken(credential: Credential, token: string): void {
    if (credential.token !== undefined && token === '') throw missing('SecurityToken');
    if ((credential.token ?? '') !== token) {
      throw new ApiError(
        'InvalidSecurityToken.MismatchWithAccessKey',
        'Specified SecurityToken mismatch with the AccessKey.',
      );
    }
    if (this.#core.credentials.expired(credential)) throw usual('InvalidSecurityToken.Expired');
  }
}

export interface RpcOptions {
  readonly clock: Clock;
  /** As RAM policies name it: `vpc`, `ecs`, `quotas`. */
  readonly name: string;
  readonly version: string;
  readonly throttle: Throttle;
  readonly gate: Gate;
  readonly actions: Actions;
  /** The one region that there is. */
  readonly region: string;
  /** The account's number. */
  readonly account: string;
}

/** Says which right is missing, as the vendor does since 2024; its message alone does not. */
const deniedDetail = (action: string, account: string) => ({
  AccessDeniedDetail: {
    AuthAction: action,
    AuthPrincipalOwnerId: account,
    AuthPrincipalType: 'SubUser',
    NoPermissionType: 'ImplicitDeny',
    PolicyType: 'AccountLevelIdentityBasedPolicy',
  },
});

/** One product behind the gateway. */
export function rpcService(options: RpcOptions): Service<Json> {
  const { clock, name, version, gate, actions, region, account } = options;
  const answer = (body: Json, status: number, requestId: string): HttpReply => ({
    status,
    headers: {
      'Content-Type': 'application/json;charset=utf-8',
      Date: new Date(clock.now()).toUTCString(),
      'x-acs-request-id': requestId,
    },
    body: JSON.stringify(body),
  });
  return {
    name,
    throttle: options.throttle,
    decode: (request) => {
      const signed = readSigned(request);
      const parameters = Object.entries(signed.parameters).filter(([key]) => !ENVELOPE.has(key));
      return { action: signed.action, parameters: Object.fromEntries(parameters) };
    },
    authenticate: (call) => {
      const signed = readSigned(call.request);
      if (call.action === '') throw missing('Action');
      if (signed.version !== version) throw new ApiError('InvalidVersion', 'Specified parameter Version is not valid.');
      if (actions[call.action] === undefined) {
        throw new ApiError(
          'InvalidAction.NotFound',
          'Specified api is not found, please check your url and method.',
          404,
        );
      }
      if (signed.format.toUpperCase() !== 'JSON') {
        throw new ApiError('InvalidParameter', 'The simulator answers with Format=JSON only.');
      }
      return gate.authenticate(call);
    },
    refusals: {
      throttled: () => usual('Throttling.User'),
      unavailable: () => usual('ServiceUnavailable'),
      forbidden: () => usual('Forbidden.RAM'),
      named: (code) => usual(code),
    },
    perform: (call, credential) => {
      const action = actions[call.action];
      if (action === undefined) throw usual('InternalError');
      checkNames(action, call, region);
      return action.perform(call.parameters, { requestId: call.requestId, caller: credential?.id ?? '' });
    },
    encode: (result, call) => answer({ ...result, RequestId: call.requestId }, 200, call.requestId),
    encodeError: (error, call) => {
      const body = {
        RequestId: call.requestId,
        HostId: String(call.request.headers.host ?? ''),
        Code: error.code,
        Message: error.message,
        Recommend: `https://api.aliyun.com/troubleshoot?q=${error.code}&product=${name}&requestId=${call.requestId}`,
        ...(error.code === 'Forbidden.RAM' ? deniedDetail(`${name}:${call.action}`, account) : {}),
      };
      return answer(body, error.status, call.requestId);
    },
  };
}
