/** The EC2 query API, version 2016-11-15. */
import { type ApiCall, ApiError, type Core, type Service } from '../core/api.ts';
import type { HttpReply, HttpRequest } from '../core/http.ts';
import type { Throttle } from '../core/rates.ts';
import type { Actions, Surroundings } from './action.ts';
import { arnOf, authenticate, ec2Auth } from './auth.ts';
import { named, throttled, unavailable } from './errors.ts';
import { type Asked, allows, askedBy, type Policy } from './iam.ts';
import { instanceTypeActions } from './instance-types.ts';
import { machineActions } from './machine-actions.ts';
import { modificationActions } from './modification-actions.ts';
import { networkActions } from './network-actions.ts';
import { booleanOf } from './parameters.ts';
import { tagActions } from './resource-tags.ts';
import { routeActions } from './route-actions.ts';
import { snapshotActions } from './snapshot-actions.ts';
import { tableActions } from './table-actions.ts';
import { volumeActions } from './volume-actions.ts';
import { escapeXml, toXml, type Xml } from './xml.ts';

const VERSION = '2016-11-15';

const actions: Actions = {
  ...routeActions,
  ...tableActions,
  ...machineActions,
  ...networkActions,
  ...volumeActions,
  ...modificationActions,
  ...snapshotActions,
  ...tagActions,
  ...instanceTypeActions,
};

/** Action and parameters of a query request, from a form in the body or from the query. */
export const decodeQuery = (request: HttpRequest): { action: string; parameters: Record<string, string> } => {
  const form = request.method === 'POST' ? new URLSearchParams(request.body.toString('utf8')) : request.query;
  const { Action: action = '', ...parameters } = Object.fromEntries(form);
  if (action === '') throw new ApiError('MissingAction', 'The request must contain the parameter Action');
  return { action, parameters };
};

export const xmlReply = (status: number, requestId: string, body: string): HttpReply => ({
  status,
  headers: { 'Content-Type': 'text/xml;charset=UTF-8', Server: 'AmazonEC2', 'x-amzn-RequestId': requestId },
  body: `<?xml version="1.0" encoding="UTF-8"?>\n${body}`,
});

const checkParameters = (call: ApiCall): void => {
  const { action, parameters } = call;
  const accepts = actions[action]?.accepts ?? [];
  for (const name of Object.keys(parameters)) {
    const [first = ''] = name.split('.');
    if (first !== 'Version' && first !== 'DryRun' && !accepts.includes(first)) {
      throw new ApiError('UnknownParameter', `The parameter ${first} is not recognized`);
    }
  }
};

/** What a caller without the right is told; the permission is named. */
const forbidden = ({ action, resource }: Pick<Asked, 'action' | 'resource'>, arn: string): ApiError => {
  const on = resource === '*' ? '' : ` on resource: ${resource}`;
  return new ApiError(
    'UnauthorizedOperation',
    `You are not authorized to perform this operation. User: ${arn} is not authorized to perform: ${action}${on} because no identity-based policy allows the ${action} action`,
    403,
  );
};

/** What a call is about, as an ARN. */
const resourceOf = ({ world }: Surroundings, { parameters }: ApiCall): string => {
  const { partition, region, account } = world;
  const { RouteTableId, NetworkInterfaceId, InstanceId, VolumeId } = parameters;
  const arn = (kind: string, id: string | undefined) => id && `arn:${partition}:ec2:${region}:${account}:${kind}/${id}`;
  return (
    arn('route-table', RouteTableId) ??
    arn('network-interface', NetworkInterfaceId) ??
    arn('volume', VolumeId) ??
    arn('instance', InstanceId) ??
    '*'
  );
};

const perform = async (call: ApiCall, around: Surroundings): Promise<{ readonly [name: string]: Xml }> => {
  const action = actions[call.action];
  if (action === undefined) {
    throw new ApiError('InvalidAction', `The action ${call.action} is not valid for this web service.`);
  }
  if (call.parameters.Version !== VERSION) {
    throw new ApiError(
      'NoSuchVersion',
      `The requested version (${call.parameters.Version}) of service AmazonEC2 does not exist`,
    );
  }
  checkParameters(call);
  if (booleanOf(call.parameters, 'DryRun') === true) {
    throw new ApiError('DryRunOperation', 'Request would have succeeded, but DryRun flag is set.', 412);
  }
  return action.run(call.parameters, around);
};

/** The service. `changed` is called after each action that may have changed a route. */
export function ec2Service(
  core: Core,
  around: Surroundings,
  throttle: Throttle,
  skewMs: number,
  changed: () => void,
): Service<{ readonly [name: string]: Xml }> {
  const { world } = around;
  const scope = { service: 'ec2', region: world.region, skewMs };
  return {
    name: 'ec2',
    throttle,
    decode: decodeQuery,
    authenticate: (call) => authenticate(core, call, scope, ec2Auth),
    refusals: {
      throttled,
      unavailable,
      forbidden: (call, credential) =>
        forbidden(
          { action: `ec2:${call.action}`, resource: resourceOf(around, call) },
          arnOf(world.partition, world.account, credential),
        ),
      named,
    },
    perform: async (call, credential) => {
      const policy = credential?.principal.policy as Policy | undefined;
      if (credential !== undefined && policy !== undefined) {
        const arn = arnOf(world.partition, world.account, credential);
        for (const asked of askedBy(call.action, call.parameters, world, around.storage)) {
          if (!allows(policy, asked)) throw forbidden(asked, arn);
        }
      }
      const result = await perform(call, around);
      if (!call.action.startsWith('Describe')) changed();
      return result;
    },
    encode: (result, call) =>
      xmlReply(
        200,
        call.requestId,
        `<${call.action}Response xmlns="http://ec2.amazonaws.com/doc/${VERSION}/">${toXml({ requestId: call.requestId, ...result })}</${call.action}Response>`,
      ),
    encodeError: ({ code, message, status }, call) =>
      xmlReply(
        status,
        call.requestId,
        `<Response><Errors><Error><Code>${escapeXml(code)}</Code><Message>${escapeXml(message)}</Message></Error></Errors><RequestID>${call.requestId}</RequestID></Response>`,
      ),
  };
}
