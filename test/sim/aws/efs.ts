/** EFS's REST API, version 2015-02-01, in JSON. */
import { type ApiCall, ApiError, type Core, type Service } from '../core/api.ts';
import type { HttpReply, HttpRequest } from '../core/http.ts';
import type { Throttle } from '../core/rates.ts';
import { type AuthRefusals, arnOf, authenticate } from './auth.ts';
import { EFS_ACTIONS, type EfsAround, type Output } from './efs-actions.ts';
import { EfsError, refused } from './efs-answers.ts';
import { askedOfEfs } from './efs-iam.ts';
import { objectOf } from './efs-input.ts';
import { allows, type Policy } from './iam.ts';

const VERSION = '/2015-02-01/';

const denied = (code: string, message: string): ApiError => new ApiError(code, message, 403);

const auth: AuthRefusals = {
  unknown: () => denied('UnrecognizedClientException', 'The security token included in the request is invalid.'),
  mismatch: (message) => denied('InvalidSignatureException', message),
  expired: () => denied('ExpiredTokenException', 'The security token included in the request is expired'),
  skewed: (late) =>
    denied('InvalidSignatureException', `Signature ${late ? 'expired' : 'not yet current'}: see the clock.`),
};

/** Names at the places of a path whose names begin with a capital letter; undefined: it is another path. */
const matched = (pattern: string, method: string, parts: readonly string[]): Record<string, string> | undefined => {
  const [verb, path = ''] = pattern.split(' ');
  const names = path.split('/');
  if (verb !== method || names.length !== parts.length) return undefined;
  const found: Record<string, string> = {};
  for (const [n, name] of names.entries()) {
    const part = decodeURIComponent(parts[n] ?? '');
    if (/^[A-Z]/.test(name)) found[name] = part;
    else if (name !== part) return undefined;
  }
  return found;
};

const bodyOf = (request: HttpRequest): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(request.body.toString('utf8') || '{}');
    return (objectOf(parsed) ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    throw refused('BadRequest', 'The body is not JSON.');
  }
};

const decode = (request: HttpRequest): { action: string; parameters: Record<string, string> } => {
  const { method, path, query } = request;
  const parts = path.startsWith(VERSION) ? path.slice(VERSION.length).replace(/\/$/, '').split('/') : [];
  for (const [action, { on }] of Object.entries(EFS_ACTIONS)) {
    const named = matched(on, method, parts);
    if (named === undefined) continue;
    // Keys of tags come as several parameters of one name.
    const many = [...new Set(query.keys())].map((name) => [name, query.getAll(name).join(',')]);
    const plain = Object.entries(bodyOf(request)).filter(([, value]) => typeof value === 'string');
    return { action, parameters: { ...Object.fromEntries([...many, ...plain]), ...named } };
  }
  throw new ApiError('UnknownOperationException', `There is no ${method} ${path}`, 404);
};

const reply = (status: number, { requestId }: ApiCall, body: unknown, type?: string): HttpReply => ({
  status,
  headers: {
    'Content-Type': 'application/json',
    'x-amzn-RequestId': requestId,
    ...(type !== undefined && { 'x-amzn-ErrorType': type }),
  },
  ...(body !== undefined && { body: JSON.stringify(body) }),
});

const forbidden = (action: string, resource: string, arn: string): ApiError => {
  const on = resource === '*' ? 'the specified resource' : `resource: ${resource}`;
  return denied('AccessDeniedException', `User: ${arn} is not authorized to perform: ${action} on ${on}`);
};

/** The service, which IAM calls `elasticfilesystem`. */
export function efsService(core: Core, around: EfsAround, throttle: Throttle, skewMs: number): Service<Output> {
  const { world } = around;
  const scope = { service: 'elasticfilesystem', region: world.region, skewMs };
  return {
    name: 'elasticfilesystem',
    throttle,
    decode,
    authenticate: (call) => authenticate(core, call, scope, auth),
    refusals: {
      throttled: () => refused('TooManyRequests', 'Rate exceeded'),
      unavailable: () => refused('ServiceUnavailableException', 'The service is unavailable.'),
      forbidden: ({ action }, credential) =>
        forbidden(`elasticfilesystem:${action}`, '*', arnOf(world.partition, world.account, credential)),
      named: (code) => refused(code, `The simulator was told to fail this call with ${code}.`),
    },
    perform: (call, credential) => {
      const { action, parameters, request } = call;
      const body = bodyOf(request);
      const policy = credential?.principal.policy as Policy | undefined;
      if (credential !== undefined && policy !== undefined) {
        for (const asked of askedOfEfs(action, parameters, body, around)) {
          if (allows(policy, asked)) continue;
          throw forbidden(asked.action, asked.resource, arnOf(world.partition, world.account, credential));
        }
      }
      const found = EFS_ACTIONS[action];
      if (found === undefined) throw new ApiError('UnknownOperationException', `There is no ${action}`, 404);
      return found.run({ parameters, body }, around);
    },
    encode: ({ status, body }, call) => reply(status, call, body),
    encodeError: (error, call) => {
      const more = error instanceof EfsError ? error.more : {};
      return reply(error.status, call, { ErrorCode: error.code, Message: error.message, ...more }, error.code);
    },
  };
}
