import t from 'tap';
import { COMMON_ERRORS } from '../../../shared/error-table/common.ts';
import { NETWORK_ERRORS } from '../../../shared/error-table/networks.ts';
import { VOLUME_ERRORS } from '../../../shared/error-table/volumes.ts';
import { asPluginError, ERRORS, type ErrorCode, PluginError } from '../../../shared/errors.ts';

t.test('the text names the thing, then the fix, then the request', async (t) => {
  const error = new PluginError('ROUTE_CONFLICT', { prefix: '10.9.3.0/24', table: 'rtb-1', target: 'eni-2' });
  t.equal(
    error.toUserText('7f3a'),
    'ROUTE_CONFLICT: 10.9.3.0/24 in rtb-1 already points to eni-2, not this host. ' +
      'Delete that route or choose another --subnet. [req 7f3a]',
  );
  t.notMatch(error.toUserText(), 'req');
  t.match(new PluginError('DRY_RUN', { what: 'x' }, { requestId: 'ab' }).toUserText(), /\[req ab\]$/);
  t.equal(error.retry, 'after');
});

t.test('every entry of the table is in order, and reads as sentences with and without its values', async (t) => {
  const codes = Object.keys(ERRORS) as ErrorCode[];
  for (const part of [COMMON_ERRORS, NETWORK_ERRORS, VOLUME_ERRORS]) {
    t.same(Object.keys(part), Object.keys(part).toSorted(), 'alphabetical');
  }
  for (const code of codes) {
    const { text, fix } = ERRORS[code];
    const names = [...`${text}${fix}`.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
    const full = new PluginError(code, Object.fromEntries(names.map((name) => [name, 'X']))).toUserText();
    for (const whole of [full, new PluginError(code).toUserText()]) {
      t.match(whole, /^[A-Z_]+: .*[.?!]"? .*[.?!]$/, whole);
      t.notMatch(whole, /[{}[\]]|\s{2}|\.\.|undefined/, whole);
    }
  }
});

t.test('an optional part is left out when its value is missing', async (t) => {
  t.equal(
    new PluginError('ADDRESS_IN_USE', { address: '10.0.0.1' }).message,
    'ADDRESS_IN_USE: 10.0.0.1 is already in use.',
  );
  t.match(new PluginError('ADDRESS_IN_USE', { address: '10.0.0.1', owner: 'web' }).message, 'in use by web.');
});

t.test('a value cannot break out of its sentence or carry a secret', async (t) => {
  const hostile = new PluginError('NETWORK_UNKNOWN', { network: `a\nb\u001b[31m${'x'.repeat(1000)}` });
  t.notMatch(hostile.message, /\p{Cc}/u);
  t.ok(hostile.message.length < 500);
  t.notMatch(new PluginError('PROVIDER_AUTH', { provider: 'http://me:hunter2@etcd' }).message, 'hunter2');
  t.match(new PluginError('NETWORK_UNKNOWN', { network: '{constructor}' }).message, '{constructor}');
});

t.test('a foreign error becomes INTERNAL, without its text and stack but with its cause', async (t) => {
  const cause = new TypeError('password=hunter2 at /secret/path');
  const error = asPluginError(cause);
  t.equal(error.code, 'INTERNAL');
  t.equal(error.cause, cause);
  t.notMatch(error.toUserText(), /hunter2|path|TypeError/);
  t.match(asPluginError(Object.assign(new Error('x'), { code: 'ENOSPC' })).message, '(ENOSPC)');
  t.equal(asPluginError('text').code, 'INTERNAL');
  t.equal(asPluginError(undefined).code, 'INTERNAL');
});

t.test('what is known stays what it is', async (t) => {
  const known = new PluginError('NOT_READY');
  t.equal(asPluginError(known), known);
  const abort = Object.assign(new Error('aborted', { cause: known }), { name: 'AbortError' });
  t.equal(asPluginError(abort), known, 'the reason of an abort');
});
