import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type CredentialSettings, Credentials } from '../../../../../shared/cloud/aliyun/credentials.ts';
import { newContext } from '../../../../../shared/context.ts';
import { PluginError } from '../../../../../shared/errors.ts';
import { silentLogger } from '../../../../../shared/log.ts';

const context = () => newContext(silentLogger, 5_000);
const MINUTE = 60_000;
const START = Date.UTC(2026, 10, 22, 12);

/** A metadata service with one role, whose keys are numbered and last an hour. */
const fakeMetadata = (options: { role?: string } = { role: 'web' }) => {
  const state = { now: START, fetched: 0, down: false, answer: undefined as string | undefined };
  const down = (): void => {
    if (state.down) throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aliyun' });
  };
  const metadata = {
    list: async () => {
      down();
      return options.role === undefined ? [] : [options.role];
    },
    get: async (path: string) => {
      down();
      if (!path.endsWith('/security-credentials/web')) return undefined;
      state.fetched += 1;
      const Expiration = new Date(state.now + 60 * MINUTE).toISOString();
      const key = { AccessKeyId: `STS.${state.fetched}`, AccessKeySecret: 'secret', SecurityToken: 'token' };
      return state.answer ?? JSON.stringify({ ...key, Expiration, Code: 'Success' });
    },
  };
  return { state, metadata };
};

const settings = (some: Partial<CredentialSettings> = {}): CredentialSettings => ({
  credentialsProfile: 'default',
  ...some,
});

const open = (some: Partial<CredentialSettings> = {}, fake = fakeMetadata()) => ({
  ...fake,
  credentials: new Credentials(settings(some), fake.metadata, () => fake.state.now),
});

const reasonOf = async (credentials: Credentials): Promise<string> => {
  const error = await credentials.get(context()).catch((thrown: unknown) => thrown);
  return error instanceof PluginError ? `${error.message} ${error.fix}` : String(error);
};

t.test('the keys of the settings go first', async (t) => {
  const { credentials, state } = open({ accessKeyId: 'LTAI1', accessKeySecret: 's', securityToken: 'st' });
  t.same(await credentials.get(context()), { id: 'LTAI1', secret: 's', token: 'st' });
  t.equal(state.fetched, 0);
  t.equal(credentials.source, 'settings');
  t.match(await reasonOf(open({ accessKeyId: 'LTAI1' }).credentials), /SETTING_INVALID: ACCESS_KEY_SECRET/);
});

t.test('a role’s keys are kept, and replaced before they end', async (t) => {
  const { credentials, state } = open();
  const all = await Promise.all([1, 2, 3].map(() => credentials.get(context())));
  t.same(new Set(all.map(({ id }) => id)), new Set(['STS.1']), 'fetched once for all who ask');
  t.equal(credentials.role, 'web');
  state.now += 54 * MINUTE;
  t.equal((await credentials.get(context())).id, 'STS.1');
  state.now += 2 * MINUTE;
  t.equal((await credentials.get(context())).id, 'STS.2');
});

t.test('keys that are refused are replaced at once, by whoever comes first', async (t) => {
  const { credentials } = open();
  const key = await credentials.get(context());
  credentials.reject(key);
  t.equal((await credentials.get(context())).id, 'STS.2');
  credentials.reject(key);
  t.equal((await credentials.get(context())).id, 'STS.2', 'the new one is not what was refused');
});

t.test('while the metadata service is away the old keys are used to their end', async (t) => {
  const { credentials, state } = open();
  await credentials.get(context());
  state.down = true;
  state.now += 57 * MINUTE;
  t.equal((await credentials.get(context())).id, 'STS.1');
  state.now += 4 * MINUTE;
  t.match(await reasonOf(credentials), /PROVIDER_UNREACHABLE/);
});

t.test('an instance without a role is told what to do', async (t) => {
  t.match(await reasonOf(open({}, fakeMetadata({})).credentials), /no RAM role: attach one, or set ACCESS_KEY_ID/);
  const { credentials, state } = open();
  state.answer = '{"Code":"Failed"}';
  t.match(await reasonOf(credentials), /no keys of role web \(Failed\)/);
  state.answer = 'secret rubbish';
  const reason = await reasonOf(credentials);
  t.match(reason, /is not JSON/);
  t.notMatch(reason, /rubbish/);
});

t.test('who ran out of time does not fail the others that waited with it', async (t) => {
  const { metadata, state } = fakeMetadata();
  let calls = 0;
  const slow = {
    ...metadata,
    get: async (path: string) => {
      calls += 1;
      if (calls === 1) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        throw new PluginError('DEADLINE', { what: 'The call', seconds: 0 });
      }
      return metadata.get(path);
    },
  };
  const credentials = new Credentials(settings(), slow, () => state.now);
  const [hasty, patient] = await Promise.allSettled([credentials.get(context()), credentials.get(context())]);
  t.equal(hasty?.status, 'rejected');
  t.match(patient, { status: 'fulfilled', value: { id: 'STS.1' } });
});

t.test('the profile file is that of the command aliyun', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'drayage-keys-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, 'config.json');
  const profiles = [
    { name: 'default', mode: 'AK', access_key_id: 'LTAI1', access_key_secret: 's1', sts_token: '' },
    { name: 'sts', mode: 'StsToken', access_key_id: 'STS.9', access_key_secret: 's2', sts_token: 't2' },
    { name: 'role', mode: 'EcsRamRole', ram_role_name: 'web' },
    { name: 'half', mode: 'StsToken', access_key_id: 'STS.9', access_key_secret: 's2' },
    { name: 'arn', mode: 'RamRoleArn', access_key_id: 'LTAI2', access_key_secret: 's3' },
  ];
  await writeFile(file, JSON.stringify({ current: 'sts', profiles }));
  const of = (credentialsProfile: string) => open({ credentialsFile: file, credentialsProfile });
  t.same(await of('default').credentials.get(context()), { id: 'LTAI1', secret: 's1' });
  t.same(await of('sts').credentials.get(context()), { id: 'STS.9', secret: 's2', token: 't2' });
  t.match(await of('role').credentials.get(context()), { id: 'STS.1' });
  t.match(await reasonOf(of('half').credentials), /profile half of .* is not complete/);
  t.match(await reasonOf(of('arn').credentials), /mode RamRoleArn/);
  t.match(await reasonOf(of('nobody').credentials), /has no profile nobody/);
  t.match(await reasonOf(open({ credentialsFile: join(folder, 'none') }).credentials), /cannot be read \(ENOENT\)/);

  const { credentials, state } = of('default');
  await credentials.get(context());
  await writeFile(file, JSON.stringify({ profiles: [{ ...profiles[0], access_key_id: 'LTAI7' }] }));
  state.now += 2 * MINUTE;
  t.equal((await credentials.get(context())).id, 'LTAI7', 'a file that was replaced is read again');

  await writeFile(file, JSON.stringify({ current: 'mine', profiles: [{ ...profiles[0], name: 'mine' }] }));
  t.equal((await of('default').credentials.get(context())).id, 'LTAI1', 'the command’s own default');
});
