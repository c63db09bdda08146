import t from 'tap';
import { badTlsFiles, connectionError } from '../../../../shared/etcd/connection-error.ts';
import { EtcdError } from '../../../../shared/etcd/wire.ts';

const failure = (code: string, message: string, reason?: string): Error =>
  Object.assign(new Error(message), { code, ...(reason !== undefined && { reason }) });

const said = (url: string, cause: unknown): string => connectionError(new URL(url), cause).message;

t.test('a failed connection names the endpoint, what happened, and what to look at', async (t) => {
  const refused = failure('ECONNREFUSED', 'connect ECONNREFUSED 10.0.0.2:2379');
  t.equal(said('http://10.0.0.2:2379', refused), 'http://10.0.0.2:2379: connect ECONNREFUSED 10.0.0.2:2379');
  t.equal(said('http://10.0.0.2:2379', new AggregateError([refused])), said('http://10.0.0.2:2379', refused));
  t.match(said('http://10.0.0.2:2379', failure('ECONNRESET', 'socket hang up')), /is it https:\/\/\?/);
  t.notMatch(said('https://10.0.0.2:2379', failure('ECONNRESET', 'socket hang up')), /is it/);
});

t.test("what is wrong with TLS is told without OpenSSL's file names and Node's advice", async (t) => {
  const untrusted = failure('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify; try running Node.js with --x');
  t.match(said('https://h', untrusted), /its certificate is not accepted: unable to verify \(is the CA file/);
  const alert = failure('ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE', '40:error:0A:../deps/x.c', 'alert bad certificate');
  t.match(said('https://h', alert), /refuses the connection: alert bad certificate \(is the client certificate/);
  const plain = failure('ERR_SSL_WRONG_VERSION_NUMBER', '40:error:0A:../deps/x.c', 'wrong version number');
  t.match(said('https://h', plain), /does not speak TLS: wrong version number \(is it http:\/\/\?\)/);
  const mismatch = failure('ERR_OSSL_X509_KEY_VALUES_MISMATCH', '40:error', 'key values mismatch');
  t.match(badTlsFiles(mismatch), { kind: 'auth', message: /files cannot be used: key values mismatch/ });
});

t.test('an error that has its words already keeps them', async (t) => {
  const error = new EtcdError('auth', 'the file /x cannot be read');
  t.equal(connectionError(new URL('https://h'), error), error);
});
