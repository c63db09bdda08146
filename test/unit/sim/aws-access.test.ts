import {
  CreateRouteCommand,
  DescribeInstancesCommand,
  DescribeRouteTablesCommand,
  DescribeVpcsCommand,
} from '@aws-sdk/client-ec2';
import t from 'tap';
import { refusal } from './aws-sdk.ts';
import { awsSite, client } from './aws-site.ts';

t.setTimeout(60_000);

const list = new DescribeRouteTablesCommand({});

t.test('a wrong secret is a wrong signature', async (t) => {
  const { aws } = await awsSite(t);
  const wrong = { ...aws.key(), secret: 'not the secret' };
  await t.rejects(client(aws, wrong).send(list), refusal('SignatureDoesNotMatch', 403));
  t.equal(aws.calls().at(-1)?.code, 'SignatureDoesNotMatch');
});

t.test('a body that is not the one that was signed is refused', async (t) => {
  const { aws, ec2, table } = await awsSite(t);
  const tampering = client(aws);
  tampering.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { body: string };
      request.body = request.body.replace('10.64.3.0', '10.64.4.0');
      return next(args);
    },
    { step: 'finalizeRequest', priority: 'low' },
  );
  const make = new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: '10.64.3.0/24', GatewayId: 'x' });
  await t.rejects(tampering.send(make), refusal('SignatureDoesNotMatch', 403));
  await t.resolves(ec2.send(list));
});

t.test('keys that nobody has, and requests without a signature, are AuthFailure', async (t) => {
  const { aws } = await awsSite(t);
  const stranger = { ...aws.key(), id: 'AKIAXXXXXXXXXXXXXXXX' };
  await t.rejects(client(aws, stranger).send(list), refusal('AuthFailure', 401));
  const bare = await fetch(aws.endpoint, { method: 'POST', body: 'Action=DescribeVpcs&Version=2016-11-15' });
  t.equal(bare.status, 401);
  t.match(await bare.text(), '<Code>AuthFailure</Code>');
});

t.test('a signature for another region or service is refused', async (t) => {
  const { aws } = await awsSite(t);
  await t.rejects(client(aws, aws.key(), { region: 'us-east-1' }).send(list), {
    ...refusal('SignatureDoesNotMatch', 403),
    message: /valid region/,
  });
});

t.test('a clock that is wrong by more than five minutes: the SDK learns the time and gets through', async (t) => {
  const { aws, clock } = await awsSite(t);
  clock.advance(4 * 60_000);
  await t.resolves(client(aws).send(list));
  clock.advance(2 * 60_000);
  await t.rejects(client(aws).send(list), refusal('RequestExpired', 400));
  clock.advance(-12 * 60_000);
  await t.rejects(client(aws).send(list), refusal('AuthFailure', 401));
  aws.clearCalls();
  const retrying = client(aws, aws.key(), { maxAttempts: 2 });
  // It takes the service's Date from the first refusal, whether or not that counts as worth a retry.
  await retrying.send(list).catch(() => undefined);
  await t.resolves(retrying.send(list));
});

t.test('temporary credentials need their token, and end', async (t) => {
  const { aws, clock } = await awsSite(t);
  const key = aws.key({ ttlMs: 60_000 });
  await t.resolves(client(aws, key).send(list));
  const { token: _, ...without } = key;
  await t.rejects(client(aws, without).send(list), refusal('AuthFailure', 401));
  await t.rejects(client(aws, { ...key, token: 'another' }).send(list), refusal('AuthFailure', 401));
  clock.advance(60_000);
  await t.rejects(client(aws, key).send(list), refusal('RequestExpired', 400));
});

t.test('a role without one permission is told which', async (t) => {
  const { aws, table, a } = await awsSite(t);
  const ec2 = client(aws, aws.key({ name: 'ci', actions: ['ec2:Describe*', 'ec2:DeleteRoute'] }));
  await t.resolves(ec2.send(list));
  const make = { RouteTableId: table, DestinationCidrBlock: '10.64.3.0/24', NetworkInterfaceId: a.eni };
  await t.rejects(ec2.send(new CreateRouteCommand(make)), {
    ...refusal('UnauthorizedOperation', 403),
    message: /user\/ci is not authorized to perform: ec2:CreateRoute on resource: .*route-table\/rtb-/,
  });
  t.same(aws.routes(table), {});
});

t.test('DryRun answers whether it would be allowed, and does nothing', async (t) => {
  const { aws, table, a, ec2 } = await awsSite(t);
  const make = { RouteTableId: table, DestinationCidrBlock: '10.64.3.0/24', NetworkInterfaceId: a.eni, DryRun: true };
  await t.rejects(ec2.send(new CreateRouteCommand(make)), refusal('DryRunOperation', 412));
  const poor = client(aws, aws.key({ actions: [] }));
  await t.rejects(poor.send(new CreateRouteCommand(make)), refusal('UnauthorizedOperation', 403));
  t.same(aws.routes(table), {});
});

t.test('actions and parameters that do not exist are refused', async (t) => {
  const { ec2, aws } = await awsSite(t);
  const changed = (change: (body: string) => string) => {
    const other = client(aws);
    other.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { body: string; headers: Record<string, string> };
        request.body = change(request.body);
        request.headers['content-length'] = String(request.body.length);
        return next(args);
      },
      { step: 'build' },
    );
    return other.send(new DescribeVpcsCommand({}));
  };
  await t.resolves(ec2.send(new DescribeVpcsCommand({})));
  await t.rejects(
    changed((body) => body.replace('DescribeVpcs', 'DescribeEverything')),
    refusal('InvalidAction', 400),
  );
  await t.rejects(
    changed((body) => `${body}&Colour=red`),
    refusal('UnknownParameter', 400),
  );
  await t.rejects(
    changed((body) => body.replace('2016-11-15', '2001-01-01')),
    refusal('NoSuchVersion', 400),
  );
});

t.test('each API is throttled on its own: a burst, then a steady rate', async (t) => {
  const { aws, ec2, clock, table } = await awsSite(t, {
    rates: { 'Describe*': { burst: 3, perSecond: 2 }, '*': { burst: 1, perSecond: 1 } },
  });
  for (let n = 0; n < 3; n++) await ec2.send(list);
  await t.rejects(ec2.send(list), refusal('RequestLimitExceeded', 503));
  await t.resolves(ec2.send(new DescribeInstancesCommand({})), 'another API has a bucket of its own');
  clock.advance(500);
  await t.resolves(ec2.send(list));
  await t.rejects(ec2.send(list), refusal('RequestLimitExceeded', 503));
  t.equal(aws.count({ code: 'RequestLimitExceeded' }), 2);
  t.same(aws.routes(table), {});
});

t.test('the limits are the real ones unless told otherwise', async (t) => {
  const { aws, ec2 } = await awsSite(t);
  const burst = await Promise.allSettled(Array.from({ length: 120 }, () => ec2.send(list)));
  t.equal(burst.filter(({ status }) => status === 'fulfilled').length, 100);
  t.equal(aws.quotas.limit('routes-per-table'), 500);
});
