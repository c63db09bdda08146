// The keys of both clouds, as stores ask for them.
import t from 'tap';
import { Credentials as AliyunCredentials } from '../../../../shared/cloud/aliyun/credentials.ts';
import { Credentials as AwsCredentials } from '../../../../shared/cloud/aws/credentials.ts';
import { Metadata } from '../../../../shared/cloud/metadata.ts';
import { aliyunKeys, awsKeys, fixedKey } from '../../../../volume-plugin/object/key-source.ts';
import { answerOf, contextOf, RawServer, type Tap } from './http/raw-server.ts';

/** A metadata service whose role has another key each time that it is asked. */
const metadataOf = async (t: Tap, cloud: 'aws' | 'aliyun'): Promise<Metadata> => {
  let asked = 0;
  const server = await RawServer.listen(t, {
    serve: ({ line }, socket) => {
      if (!/security-credentials\/role$/.test(line)) {
        socket.write(answerOf(line.includes('security-credentials') ? 'role' : 'token'));
        return;
      }
      asked += 1;
      const key = {
        ...{ Code: 'Success', AccessKeyId: `ID${asked}`, SecretAccessKey: 's', AccessKeySecret: 's' },
        ...{ Token: 't', SecurityToken: 't', Expiration: new Date(Date.now() + 3_600_000).toISOString() },
      };
      socket.write(answerOf(JSON.stringify(key)));
    },
  });
  return new Metadata({ cloud, endpoint: `http://127.0.0.1:${server.port}` });
};

t.test('a role has the same key until it is refused, and then another', async (t) => {
  const sources = {
    aws: awsKeys(new AwsCredentials({ metadata: await metadataOf(t, 'aws') })),
    aliyun: aliyunKeys(new AliyunCredentials({ credentialsProfile: 'default' }, await metadataOf(t, 'aliyun'))),
  };
  for (const [name, source] of Object.entries(sources)) {
    const first = await source.key(contextOf());
    t.match(first, { id: 'ID1', secret: 's', token: 't' }, name);
    t.equal((await source.key(contextOf()))?.id, 'ID1');
    const others = await Promise.all([source.key(contextOf(), first), source.key(contextOf())]);
    t.equal(others[0]?.id, 'ID2', name);
    t.equal((await source.key(contextOf(), first))?.id, 'ID2', 'who comes late with the old one changes nothing');
  }
});

t.test('a key that was given is the only one, refused or not', async (t) => {
  const key = { id: 'ID', secret: 's' };
  const aws = awsKeys(
    new AwsCredentials({ key, metadata: new Metadata({ cloud: 'aws', endpoint: 'http://127.0.0.1:1' }) }),
  );
  const settings = { accessKeyId: 'ID', accessKeySecret: 's', credentialsProfile: 'default' };
  const aliyun = aliyunKeys(
    new AliyunCredentials(settings, new Metadata({ cloud: 'aliyun', endpoint: 'http://127.0.0.1:1' })),
  );
  for (const source of [fixedKey(key), aws, aliyun]) {
    t.match(await source.key(contextOf()), key);
    t.match(await source.key(contextOf(), key), key);
  }
  t.equal(await fixedKey(undefined).key(contextOf()), undefined);
});
