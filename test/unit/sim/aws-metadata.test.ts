import { DescribeVpcsCommand, EC2Client } from '@aws-sdk/client-ec2';
import t from 'tap';
import { awsSite } from './aws-site.ts';

t.setTimeout(60_000);

const TTL = 'x-aws-ec2-metadata-token-ttl-seconds';

const session = async (endpoint: string, seconds = '60'): Promise<string> => {
  const response = await fetch(`${endpoint}/latest/api/token`, { method: 'PUT', headers: { [TTL]: seconds } });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return await response.text();
};

/** Text at a path below /latest, or the status when it is not 200. */
const read = async (endpoint: string, path: string, token?: string): Promise<string | number> => {
  const headers: Record<string, string> = token === undefined ? {} : { 'x-aws-ec2-metadata-token': token };
  const response = await fetch(`${endpoint}/latest/${path}`, { headers });
  return response.status === 200 ? await response.text() : response.status;
};

interface RoleCredentials {
  readonly AccessKeyId: string;
  readonly Expiration: string;
}

t.test('nothing is told without a session', async (t) => {
  const { aws, clock } = await awsSite(t);
  const at = aws.metadataEndpoint;
  t.equal(await read(at, 'meta-data/instance-id'), 401);
  t.equal(await read(at, 'meta-data/instance-id', 'made up'), 401);
  await t.rejects(session(at, '0'), /400/);
  await t.rejects(session(at, '21601'), /400/);
  const token = await session(at, '60');
  t.match(await read(at, 'meta-data/instance-id', token), /^i-/);
  clock.advance(60_000);
  t.equal(await read(at, 'meta-data/instance-id', token), 401, 'the session is over');
  const proxied = { [TTL]: '60', 'X-Forwarded-For': '10.0.0.1' };
  t.equal((await fetch(`${at}/latest/api/token`, { method: 'PUT', headers: proxied })).status, 403);
});

t.test('identity, interfaces and placement are told as the real service does', async (t) => {
  const { aws, a, subnet, vpc } = await awsSite(t);
  const second = aws.networkInterface({ subnet: subnet.id, instance: a.id });
  const at = aws.metadataEndpoint;
  const token = await session(at);
  const get = (path: string) => read(at, `meta-data/${path}`, token);
  t.equal(await get('instance-id'), a.id);
  t.equal(await get('mac'), a.mac);
  t.equal(await get('local-ipv4'), '10.0.1.10');
  t.equal(await get('hostname'), 'ip-10-0-1-10.eu-central-1.compute.internal');
  t.equal(await get('placement/region'), 'eu-central-1');
  t.equal(await get('placement/availability-zone'), 'eu-central-1a');
  t.equal(await get('services/partition'), 'aws');
  t.equal(await get('services/domain'), 'amazonaws.com');
  t.same(
    String(await get('network/interfaces/macs/'))
      .split('\n')
      .sort(),
    [`${a.mac}/`, `${second.mac}/`].sort(),
  );
  const folder = `network/interfaces/macs/${a.mac}`;
  t.equal(await get(`${folder}/interface-id`), a.eni);
  t.equal(await get(`${folder}/subnet-id`), subnet.id);
  t.equal(await get(`${folder}/vpc-id`), vpc.id);
  t.equal(await get(`${folder}/local-ipv4s`), '10.0.1.10');
  t.equal(await get(`${folder}/ipv6s`), 'fd00:1::10');
  t.equal(await get(`${folder}/device-number`), '0');
  t.equal(await get(`network/interfaces/macs/${second.mac}/device-number`), '1');
  t.equal(await get('no/such/thing'), 404);
  t.equal(await get('public-ipv4'), 404);
  const document = await read(at, 'dynamic/instance-identity/document', token);
  t.match(JSON.parse(String(document)), { region: 'eu-central-1', instanceId: a.id, accountId: '123456789012' });
});

t.test('China is another partition', async (t) => {
  const { aws } = await awsSite(t, { region: 'cn-north-1' });
  const token = await session(aws.metadataEndpoint);
  t.equal(await read(aws.metadataEndpoint, 'meta-data/services/partition', token), 'aws-cn');
  t.equal(await read(aws.metadataEndpoint, 'meta-data/services/domain', token), 'amazonaws.com.cn');
});

t.test('who asks is known by the source address, or by the listener', async (t) => {
  const { aws, a, b } = await awsSite(t);
  const whoAt = async (at: string) => read(at, 'meta-data/instance-id', await session(at));
  t.equal(await whoAt(aws.metadataEndpoint), a.id, 'the first instance, for an unknown source');
  t.equal(await whoAt(await aws.metadataOf(b.id)), b.id);
  aws.metadata.from('127.0.0.0/8', b.id);
  t.equal(await whoAt(aws.metadataEndpoint), b.id);
  const strange = await session(await aws.metadataOf(a.id));
  t.equal(await read(aws.metadataEndpoint, 'meta-data/instance-id', strange), 401, 'a session of another instance');
  aws.metadata.from('127.0.0.1', 'i-gone');
  await t.rejects(whoAt(aws.metadataEndpoint), /404/);
});

t.test('role credentials rotate before they end, and at once when one was revoked', async (t) => {
  const { aws, clock } = await awsSite(t, { roleTtlMs: 3600_000 });
  const at = aws.metadataEndpoint;
  const token = await session(at, '21600');
  const path = 'meta-data/iam/security-credentials/';
  t.equal(await read(at, path, token), 'drayage');
  const get = async () => JSON.parse(String(await read(at, `${path}drayage`, token))) as RoleCredentials;
  const first = await get();
  t.match(first, { Code: 'Success', Type: 'AWS-HMAC', AccessKeyId: /^ASIA/, SecretAccessKey: String, Token: String });
  t.equal(Date.parse(first.Expiration), Math.floor((clock.now() + 3600_000) / 1000) * 1000);
  clock.advance(54 * 60_000);
  t.equal((await get()).AccessKeyId, first.AccessKeyId);
  clock.advance(2 * 60_000);
  const second = await get();
  t.not(second.AccessKeyId, first.AccessKeyId);
  aws.expire(second.AccessKeyId);
  t.not((await get()).AccessKeyId, second.AccessKeyId);
});

t.test('an instance without a role has no credentials', async (t) => {
  const { aws, subnet } = await awsSite(t);
  const poor = aws.instance({ name: 'poor', subnet: subnet.id, role: false });
  const at = await aws.metadataOf(poor.id);
  t.equal(await read(at, 'meta-data/iam/security-credentials/', await session(at)), 404);
});

t.test('the SDK’s default chain gets a role’s credentials from here, and is held to the role’s rights', async (t) => {
  const { aws, subnet } = await awsSite(t);
  const role = { name: 'reader', actions: ['ec2:DescribeVpcs'] };
  const reader = aws.instance({ name: 'reader', subnet: subnet.id, role });
  const names = ['AWS_EC2_METADATA_SERVICE_ENDPOINT', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE'];
  const before = names.map((name) => [name, process.env[name]] as const);
  t.teardown(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  for (const name of names) process.env[name] = '/dev/null';
  process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = await aws.metadataOf(reader.id);
  const ec2 = new EC2Client({ region: aws.region, endpoint: aws.endpoint, maxAttempts: 1 });
  t.teardown(() => ec2.destroy());
  t.equal((await ec2.send(new DescribeVpcsCommand({}))).Vpcs?.length, 1);
  const [call] = aws.calls({ service: 'ec2' });
  t.match(call?.caller, /^ASIA/);
});

t.test('faults reach the metadata service only when they name it', async (t) => {
  const { aws } = await awsSite(t);
  const at = aws.metadataEndpoint;
  aws.faults.storm(1000);
  const token = await session(at);
  aws.faults.fail('meta-data/mac', '404', { service: 'metadata' });
  t.equal(await read(at, 'meta-data/mac', token), 404);
  t.match(await read(at, 'meta-data/mac', token), /:/);
  aws.faults.hang('meta-data/mac', { service: 'metadata' });
  const headers = { 'x-aws-ec2-metadata-token': token };
  const silent = fetch(`${at}/latest/meta-data/mac`, { headers, signal: AbortSignal.timeout(100) });
  await t.rejects(silent, { name: 'TimeoutError' });
});
