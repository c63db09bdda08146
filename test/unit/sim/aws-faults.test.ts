import { CreateRouteCommand, DescribeRouteTablesCommand } from '@aws-sdk/client-ec2';
import t from 'tap';
import { refusal } from './aws-sdk.ts';
import { awsSite, client } from './aws-site.ts';

t.setTimeout(60_000);

const list = new DescribeRouteTablesCommand({});
const prefix = '10.64.3.0/24';

t.test('the n-th call of an action fails, and only that', async (t) => {
  const { aws, ec2 } = await awsSite(t);
  const fault = aws.faults.fail('DescribeRouteTables', 'InternalError', { nth: 2 });
  await t.resolves(ec2.send(list));
  await t.rejects(ec2.send(list), refusal('InternalError', 500));
  await t.resolves(ec2.send(list));
  t.equal(fault.hits, 1);
  t.same(
    aws.calls({ action: 'DescribeRouteTables' }).map(({ code, faults }) => [code, ...faults]),
    [['OK'], ['InternalError', 'fail'], ['OK']],
  );
});

t.test('a reply lost after the effect: the route is there, and the retry says so', async (t) => {
  const { aws, ec2, table, a } = await awsSite(t);
  const make = new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni });
  aws.faults.loseReply('CreateRoute');
  await t.rejects(ec2.send(make), { code: 'ECONNRESET' });
  t.same(aws.routes(table), { [prefix]: a.eni });
  await t.rejects(ec2.send(make), refusal('RouteAlreadyExists', 400));
  t.match(aws.calls({ action: 'CreateRoute' }), [{ code: 'OK', status: 0 }, { code: 'RouteAlreadyExists' }]);
});

t.test('the SDK’s own retry after a lost reply meets its own route', async (t) => {
  const { aws, table, a } = await awsSite(t);
  aws.faults.loseReply('CreateRoute');
  const make = new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni });
  await t.rejects(client(aws, aws.key(), { maxAttempts: 3 }).send(make), refusal('RouteAlreadyExists', 400));
});

t.test('a call dropped before its effect leaves nothing behind', async (t) => {
  const { aws, ec2, table, a } = await awsSite(t);
  aws.faults.drop('CreateRoute');
  const make = new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni });
  await t.rejects(ec2.send(make), { code: 'ECONNRESET' });
  t.same(aws.routes(table), {});
});

t.test('a storm of 503s lasts as long as it was told, for the callers it was told', async (t) => {
  const { aws, clock } = await awsSite(t);
  const [one, other] = [aws.key(), aws.key()];
  aws.faults.storm(5000, 'Describe*', { caller: one.id });
  await t.rejects(client(aws, one).send(list), refusal('Unavailable', 503));
  await t.resolves(client(aws, other).send(list));
  clock.advance(4999);
  await t.rejects(client(aws, one).send(list), refusal('Unavailable', 503));
  clock.advance(1);
  await t.resolves(client(aws, one).send(list));
});

t.test('credentials expire in the middle of a run', async (t) => {
  const { aws } = await awsSite(t);
  const key = aws.key({ ttlMs: 3600_000 });
  aws.faults.expireCredentials('DescribeRouteTables', { nth: 2 });
  const ec2 = client(aws, key);
  await t.resolves(ec2.send(list));
  await t.rejects(ec2.send(list), refusal('RequestExpired', 400));
  await t.rejects(ec2.send(list), refusal('RequestExpired', 400), 'and stay so');
});

t.test('a delay keeps the caller waiting and then answers', async (t) => {
  const { aws, ec2, clock } = await awsSite(t);
  const delay = aws.faults.delay('DescribeRouteTables', 3000);
  let answered = false;
  const call = ec2.send(list).then(() => {
    answered = true;
  });
  while (delay.hits === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  clock.advance(2999);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.notOk(answered);
  clock.advance(1);
  await call;
  delay.remove();
  await t.resolves(ec2.send(list));
});

t.test('a call that hangs ends with the caller’s patience', async (t) => {
  const { aws, ec2 } = await awsSite(t);
  aws.faults.hang('DescribeRouteTables');
  await t.rejects(ec2.send(list, { abortSignal: AbortSignal.timeout(100) }), { name: 'AbortError' });
  await t.resolves(ec2.send(list));
});

t.test('a fault can be put on calls with certain parameters only', async (t) => {
  const { aws, ec2, table, a } = await awsSite(t);
  aws.faults.throttle('CreateRoute', { parameters: { DestinationCidrBlock: prefix } });
  const make = (cidr: string) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: cidr, NetworkInterfaceId: a.eni }));
  await t.resolves(make('10.64.4.0/24'));
  await t.rejects(make(prefix), refusal('RequestLimitExceeded', 503));
  await t.resolves(make(prefix));
});
