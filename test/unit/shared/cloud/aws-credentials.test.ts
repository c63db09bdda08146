import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Credentials, parseProfiles } from '../../../../shared/cloud/aws/credentials.ts';
import { Metadata } from '../../../../shared/cloud/metadata.ts';
import { newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';

const context = () => newContext(silentLogger, 2_000);

/** A metadata service whose role has the keys K1, K2 …, each good for `seconds` from when it is first asked for. */
const roleService = async (t: Test, seconds: () => number) => {
  const state = { key: 1, fails: false, gone: false, asked: 0 };
  const server = createServer((request, response) => {
    if (request.method === 'PUT') return response.end('token');
    if (request.url?.endsWith('/security-credentials/') === true) {
      return state.gone ? response.writeHead(404).end() : response.end('web');
    }
    state.asked += 1;
    if (state.fails) return response.writeHead(503).end();
    const Expiration = new Date(Date.now() + seconds() * 1000).toISOString();
    const id = `K${state.key}`;
    state.key += 1;
    return response.end(
      JSON.stringify({ Code: 'Success', AccessKeyId: id, SecretAccessKey: `S${id}`, Token: `T${id}`, Expiration }),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const metadata = new Metadata({ cloud: 'aws', endpoint: `http://127.0.0.1:${address.port}` });
  return { metadata, state };
};

t.test('keys of the settings come first, then the file, then the role', async (t) => {
  const { metadata, state } = await roleService(t, () => 3_600);
  const key = { id: 'AKIA', secret: 's' };
  const settings = new Credentials({ metadata, key, file: { path: '/nowhere', profile: 'x' } });
  t.same(await settings.get(context()), key);
  t.equal(settings.source, 'the setting ACCESS_KEY_ID');
  t.equal(await settings.refused(key, context()), false);
  const role = new Credentials({ metadata });
  t.same(await role.get(context()), { id: 'K1', secret: 'SK1', token: 'TK1' });
  t.same(await role.get(context()), { id: 'K1', secret: 'SK1', token: 'TK1' });
  t.equal(state.asked, 1);
  t.equal(role.source, "the instance's role");
});

t.test('keys of a role are renewed five minutes before they end', async (t) => {
  let seconds = 3_600;
  const { metadata } = await roleService(t, () => seconds);
  const credentials = new Credentials({ metadata });
  seconds = 290;
  t.equal((await credentials.get(context())).id, 'K1');
  seconds = 3_600;
  t.equal((await credentials.get(context())).id, 'K2');
  t.equal((await credentials.get(context())).id, 'K2');
});

t.test('old keys are used as long as they are good when there are no new ones', async (t) => {
  const { metadata, state } = await roleService(t, () => 200);
  const credentials = new Credentials({ metadata });
  t.equal((await credentials.get(context())).id, 'K1');
  state.fails = true;
  t.equal((await credentials.get(context())).id, 'K1');
  state.fails = false;
  t.equal((await credentials.get(context())).id, 'K2');
});

t.test('refused keys are asked for anew, and it is said whether there are others', async (t) => {
  const { metadata, state } = await roleService(t, () => 3_600);
  const credentials = new Credentials({ metadata });
  const first = await credentials.get(context());
  t.equal(await credentials.refused(first, context()), true);
  t.equal((await credentials.get(context())).id, 'K2');
  const second = await credentials.get(context());
  state.key = 2;
  t.equal(await credentials.refused(second, context()), false, 'the same again');
});

t.test('a machine without a role is told what it lacks', async (t) => {
  const { metadata, state } = await roleService(t, () => 3_600);
  state.gone = true;
  await t.rejects(new Credentials({ metadata }).get(context()), { code: 'PROVIDER_AUTH', message: /has no role/ });
});

t.test('a profile file is read as AWS’s own tools do', async (t) => {
  const profiles = parseProfiles(
    '# comment\r\n[default]\r\naws_access_key_id=A\n aws_secret_access_key = B+/=\n;x\n[profile dev]\nregion = x\naws_session_token =\n[default]\nmore = 1\nnonsense\n',
  );
  t.same(
    [...(profiles.get('default') ?? [])],
    [
      ['aws_access_key_id', 'A'],
      ['aws_secret_access_key', 'B+/='],
      ['more', '1'],
    ],
  );
  t.same([...(profiles.get('dev') ?? [])], [['region', 'x']]);
});

t.test('what is wrong with a profile file is said with its path, and nothing of what is in it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'drayage-credentials-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'credentials');
  const { metadata } = await roleService(t, () => 3_600);
  const get = (profile: string) => new Credentials({ metadata, file: { path, profile } }).get(context());
  await t.rejects(get('default'), { code: 'PROVIDER_AUTH', message: new RegExp(`${path}: ENOENT`) });
  await writeFile(
    path,
    '[default]\naws_access_key_id = AKIAFAKE\n[sso]\nsso_session = x\n[ok]\naws_access_key_id=I\naws_secret_access_key=S\n',
  );
  await t.rejects(get('default'), { message: /no aws_access_key_id and aws_secret_access_key/ });
  await t.rejects(get('sso'), { message: /sso_session, which is not supported/ });
  await t.rejects(get('other'), { message: /no profile other/ });
  t.notMatch(String(await get('default').catch((error: unknown) => error)), /AKIAFAKE/);
  t.same(await get('ok'), { id: 'I', secret: 'S' });
});
