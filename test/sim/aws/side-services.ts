/** The two other services that a route provider asks: STS (who am I) and Service Quotas (how many routes). */
import { type ApiCall, ApiError, type Core, type Service } from '../core/api.ts';
import type { Credential } from '../core/credentials.ts';
import type { Quotas } from '../core/quotas.ts';
import { arnOf, authenticate, jsonAuth, stsAuth } from './auth.ts';
import { decodeQuery, xmlReply } from './ec2.ts';
import { named } from './errors.ts';
import type { World } from './world.ts';
import { escapeXml, toXml, type Xml } from './xml.ts';

const STS = 'https://sts.amazonaws.com/doc/2011-06-15/';

/** GetCallerIdentity, which needs no permission. */
export function stsService(core: Core, world: World, skewMs: number): Service<{ readonly [name: string]: Xml }> {
  const scope = { service: 'sts', region: world.region, skewMs };
  return {
    name: 'sts',
    decode: decodeQuery,
    authenticate: (call) => authenticate(core, call, scope, stsAuth),
    refusals: {
      throttled: () => new ApiError('Throttling', 'Rate exceeded'),
      unavailable: () => new ApiError('ServiceUnavailable', 'Service Unavailable', 503),
      forbidden: ({ action }) => new ApiError('AccessDenied', `Not authorized to perform: sts:${action}`, 403),
      named,
    },
    perform: (call, credential) => {
      if (call.action !== 'GetCallerIdentity') {
        throw new ApiError('InvalidAction', `Could not find operation ${call.action} for version 2011-06-15`);
      }
      const { id = '' } = credential ?? {};
      const arn = credential === undefined ? '' : arnOf(world.partition, world.account, credential);
      return { Arn: arn, UserId: id, Account: world.account };
    },
    encode: (result, { action, requestId }) => {
      const inner = `<${action}Result>${toXml(result)}</${action}Result>`;
      const metadata = `<ResponseMetadata><RequestId>${requestId}</RequestId></ResponseMetadata>`;
      return xmlReply(200, requestId, `<${action}Response xmlns="${STS}">${inner}${metadata}</${action}Response>`);
    },
    encodeError: ({ code, message, status }, { requestId }) => {
      const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${escapeXml(message)}</Message></Error>`;
      return xmlReply(
        status,
        requestId,
        `<ErrorResponse xmlns="${STS}">${error}<RequestId>${requestId}</RequestId></ErrorResponse>`,
      );
    },
  };
}

/** Quota code → name in the simulator's quotas, and in the cloud's console. */
const codes: Readonly<Record<string, readonly [string, string]>> = {
  'L-93826ACB': ['routes-per-table', 'Routes per route table'],
};

const TARGET = 'ServiceQuotasV20190624.';

/** GetServiceQuota and GetAWSDefaultServiceQuota for service code `vpc`, in JSON 1.1. */
export function quotasService(
  core: Core,
  world: World,
  quotas: Quotas,
  defaults: Readonly<Record<string, number>>,
  skewMs: number,
): Service<unknown> {
  const scope = { service: 'servicequotas', region: world.region, skewMs };
  const body = (status: number, { requestId }: ApiCall, value: unknown) => ({
    status,
    headers: { 'Content-Type': 'application/x-amz-json-1.1', 'x-amzn-RequestId': requestId },
    body: JSON.stringify(value),
  });
  const quota = (call: ApiCall): unknown => {
    const { ServiceCode = '', QuotaCode = '' } = call.parameters;
    const [name, title] = (ServiceCode === 'vpc' ? codes[QuotaCode] : undefined) ?? [];
    if (name === undefined) {
      throw new ApiError('NoSuchResourceException', 'The request failed because the specified service does not exist.');
    }
    const live = call.action === 'GetServiceQuota';
    if (!live && call.action !== 'GetAWSDefaultServiceQuota') throw new ApiError('UnknownOperationException', '');
    const { partition, region, account } = world;
    return {
      Quota: {
        ServiceCode,
        ServiceName: 'Amazon Virtual Private Cloud (Amazon VPC)',
        QuotaArn: `arn:${partition}:servicequotas:${region}:${account}:vpc/${QuotaCode}`,
        QuotaCode,
        QuotaName: title,
        Value: live ? quotas.limit(name) : defaults[name],
        Unit: 'None',
        Adjustable: true,
        GlobalQuota: false,
      },
    };
  };
  return {
    name: 'servicequotas',
    decode: (request) => {
      const target = String(request.headers['x-amz-target'] ?? '');
      const parameters = JSON.parse(request.body.toString('utf8') || '{}') as Record<string, string>;
      return { action: target.replace(TARGET, ''), parameters };
    },
    authenticate: (call): Credential => authenticate(core, call, scope, jsonAuth),
    refusals: {
      throttled: () => new ApiError('TooManyRequestsException', 'Rate exceeded', 429),
      unavailable: () => new ApiError('ServiceException', 'Service unavailable', 503),
      forbidden: ({ action }, credential) => {
        const arn = arnOf(world.partition, world.account, credential);
        const message = `User: ${arn} is not authorized to perform: servicequotas:${action} because no identity-based policy allows the servicequotas:${action} action`;
        return new ApiError('AccessDeniedException', message);
      },
      named,
    },
    perform: quota,
    encode: (result, call) => body(200, call, result),
    encodeError: ({ code, message, status }, call) => body(status, call, { __type: code, Message: message, message }),
  };
}
