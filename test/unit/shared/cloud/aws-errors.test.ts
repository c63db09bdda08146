import t from 'tap';
import { type Circumstances, classify, toPluginError } from '../../../../shared/cloud/aws/errors.ts';

/** As the vendor's client throws them. */
const vendor = (name: string, status: number | undefined, message = 'a sentence', more: object = {}): Error =>
  Object.assign(new Error(message), {
    name,
    $fault: 'client',
    $metadata: status === undefined ? {} : { httpStatusCode: status },
    ...more,
  });

const around: Circumstances = {
  permission: 'ec2:CreateRoute',
  endpoint: 'ec2.eu-central-1',
  region: 'eu-central-1',
  source: "the instance's role",
};

t.test('codes → kinds', async (t) => {
  const cases: [string, number, string][] = [
    ['RouteAlreadyExists', 400, 'route-exists'],
    ['InvalidRoute.NotFound', 400, 'route-missing'],
    ['InvalidRouteTableID.NotFound', 400, 'table-missing'],
    ['InvalidNetworkInterfaceID.NotFound', 400, 'target-missing'],
    ['NatGatewayNotFound', 400, 'target-missing'],
    ['RouteLimitExceeded', 400, 'table-full'],
    ['RequestLimitExceeded', 503, 'throttled'],
    ['Throttling', 400, 'throttled'],
    ['Whatever', 429, 'throttled'],
    ['Unavailable', 503, 'unavailable'],
    ['Whatever', 502, 'unavailable'],
    ['UnauthorizedOperation', 403, 'permission'],
    ['AuthFailure', 401, 'credentials'],
    ['RequestExpired', 400, 'expired'],
    ['Whatever', 401, 'credentials'],
    ['Whatever', 403, 'permission'],
    ['InvalidParameterValue', 400, 'refused'],
    ['DryRunOperation', 412, 'dry-run'],
    ['SyntaxError', 200, 'unreachable'],
  ];
  for (const [name, status, kind] of cases) t.equal(classify('CreateRoute', vendor(name, status)).kind, kind, name);
});

t.test('a ReplaceRoute to nowhere comes with the most general code', async (t) => {
  const error = vendor(
    'InvalidParameterValue',
    400,
    "There is no route defined for '10.64.3.0/24' in the route table.",
  );
  t.equal(classify('ReplaceRoute', error).kind, 'route-missing');
  t.equal(classify('CreateRoute', error).kind, 'refused');
});

t.test('no answer at all, in the words of the operating system', async (t) => {
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE', 'CERT_HAS_EXPIRED']) {
    t.match(classify('DescribeInstances', vendor('Error', undefined, '', { code })), { kind: 'unreachable', code });
  }
  t.match(classify('DescribeInstances', vendor('TimeoutError', undefined)), {
    kind: 'unreachable',
    code: 'TimeoutError',
  });
  t.match(classify('DescribeInstances', 'nonsense'), { kind: 'unreachable' });
  const told = toPluginError(classify('CreateRoute', vendor('Error', undefined, '', { code: 'ENOTFOUND' })), around);
  t.match(told, {
    code: 'PROVIDER_UNREACHABLE',
    message: /ec2\.eu-central-1: ENOTFOUND; is there a region eu-central-1\?/,
  });
});

t.test('a missing permission is named with the role; what EC2 encodes for itself is left out', async (t) => {
  const message =
    'You are not authorized to perform this operation. User: arn:aws:sts::123456789012:assumed-role/web/i-1 is not authorized to perform: ec2:CreateRoute on resource: arn:aws:ec2:eu-central-1:123456789012:route-table/rtb-1 because no identity-based policy allows the ec2:CreateRoute action. Encoded authorization failure message: AbCdEf123';
  const error = classify('CreateRoute', vendor('UnauthorizedOperation', 403, message));
  t.notMatch(error.message, /Encoded|AbCdEf/);
  const told = toPluginError(error, around);
  t.match(told, { code: 'PROVIDER_PERMISSION', context: { permission: 'ec2:CreateRoute', role: 'web' } });
  t.match(told.toUserText(), /drayage policy aws/);
});

t.test('refused credentials: their source and region, or the clock where it is the matter', async (t) => {
  const error = classify('CreateRoute', vendor('AuthFailure', 401));
  t.match(toPluginError(error, around).message, /AuthFailure, keys from the instance's role, region eu-central-1/);
  const skew = { ms: 600_000, text: '600 s ahead' };
  t.match(toPluginError(error, { ...around, skew }).message, /clock is 600 s ahead of AWS/);
  t.notMatch(toPluginError(error, { ...around, skew: { ms: 2_000, text: '2 s ahead' } }).message, /clock/);
});

t.test('what EC2 refuses for other reasons is told in its own words', async (t) => {
  const error = vendor(
    'InvalidParameterValue',
    400,
    'route table rtb-1 and interface eni-2 belong to different networks',
  );
  const told = toPluginError(classify('CreateRoute', error), around);
  t.match(told, {
    code: 'PROVIDER_REFUSED',
    message: /refused CreateRoute: InvalidParameterValue: .*different networks/,
  });
  t.not(told.retry, 'backoff');
});

t.test('headers and keys of the vendor’s error are left behind', async (t) => {
  const error = vendor('AuthFailure', 401, 'no', { $response: { headers: { 'x-amz-security-token': 'FAKESECRET' } } });
  const told = toPluginError(classify('CreateRoute', error), around);
  t.notMatch(JSON.stringify([told, told.cause, Object.entries(told.cause ?? {})]), /FAKESECRET/);
});
