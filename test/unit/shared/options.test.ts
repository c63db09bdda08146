import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import {
  checkEnv,
  checkOptions,
  describe,
  fromEnv,
  markdownTable,
  option,
  type Parsed,
  parseOptions,
  redact,
  type Schema,
} from '../../../shared/options.ts';

const schema = {
  mtu: option.integer({ help: 'Bytes.', min: 68, max: 65_535 }),
  masquerade: option.enum(['auto', 'on', 'off'], { help: 'NAT.', default: 'auto' }),
  allow: option.cidrList({ help: 'Who may come in.', default: [] }),
  etcdPassword: option.text({ help: 'Password.', sensitive: true, min: 3 }),
  every: option.duration({ help: 'Pause.', default: 30_000, min: 1_000, env: 'INTERVAL' }),
} as const;

const textOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof PluginError) return error.toUserText();
    throw error;
  }
  return 'nothing was thrown';
};

/** The value of a single option, or the reason why it is refused. */
const parseOne = (known: Schema[string], text: string): unknown => {
  const { values, errors } = checkOptions({ it: known }, { it: text }, 'option');
  return errors[0]?.context.reason ?? values.it;
};

t.test('types follow from the schema', async (t) => {
  const values = parseOptions(schema, { mtu: '1500' }, 'network option');
  const mtu: number | undefined = values.mtu;
  const masquerade: 'auto' | 'on' | 'off' = values.masquerade;
  // @ts-expect-error an option without default may be missing
  const wrong: (values: Parsed<typeof schema>) => number = (v) => v.mtu;
  // @ts-expect-error a misspelt limit is found by the compiler
  option.integer({ help: 'x', mni: 3 });
  t.equal(mtu, 1500);
  t.equal(masquerade, 'auto');
  t.equal(wrong(values), 1500);
  t.equal(values.every, 30_000);
});

t.test('an unknown option is refused with the nearest known name', async (t) => {
  const text = textOf(() => parseOptions(schema, { mut: '1500' }, 'network option'));
  t.equal(
    text,
    'OPTION_UNKNOWN: There is no network option "mut"; did you mean "mtu"? Known: mtu, masquerade, allow, etcdPassword, every.',
  );
  t.match(
    textOf(() => parseOptions(schema, { MASQURADE: 'on' }, 'network option')),
    'did you mean "masquerade"?',
  );
  t.notMatch(
    textOf(() => parseOptions(schema, { colour: 'red' }, 'network option')),
    'did you mean',
  );
  t.match(
    textOf(() => parseOptions(schema, JSON.parse('{"__proto__": "x"}'), 'network option')),
    'OPTION_UNKNOWN',
  );
  t.match(
    textOf(() => parseOptions(schema, { constructor: 'x' }, 'network option')),
    'OPTION_UNKNOWN',
  );
});

t.test('a bad value is named with what is allowed', async (t) => {
  t.equal(
    textOf(() => parseOptions(schema, { mtu: '12' }, 'network option')),
    'OPTION_INVALID: The network option mtu=12 is not valid: the least is 68. Allowed: a whole number from 68 to 65535.',
  );
  t.match(
    textOf(() => parseOptions(schema, { masquerade: 'of' }, 'network option')),
    'did you mean off?',
  );
  t.match(
    textOf(() => parseOptions(schema, { allow: '10.0.0.1/8' }, 'x')),
    'did you mean 10.0.0.0/8?',
  );
  t.match(
    textOf(() => parseOptions(schema, { mtu: 3 }, 'x')),
    'it is not text',
  );
});

t.test('every problem can be had at once', async (t) => {
  const { errors } = checkOptions(schema, { mtu: 'x', mut: '1', every: '5' }, 'network option');
  t.same(
    errors.map((error) => error.code),
    ['OPTION_UNKNOWN', 'OPTION_INVALID', 'OPTION_INVALID'],
  );
});

t.test('each kind of value takes what it should and refuses the rest', async (t) => {
  const help = 'h';
  const integer = option.integer({ help });
  for (const bad of ['', '1.5', '0x10', '1e3', '007', ' 1', '99999999999999999999']) {
    t.equal(parseOne(integer, bad), 'it is not a whole number', `integer ${bad}`);
  }
  t.equal(parseOne(integer, '-5'), -5);
  const boolean = option.boolean({ help });
  for (const yes of ['true', 'TRUE', 'yes', 'on', '1']) t.equal(parseOne(boolean, yes), true, yes);
  for (const no of ['false', 'no', 'off', '0']) t.equal(parseOne(boolean, no), false, no);
  t.match(parseOne(boolean, 'maybe'), 'neither');
  t.equal(parseOne(option.duration({ help }), '1m30s'), 90_000);
  t.match(parseOne(option.duration({ help, max: 60_000 }), '2m'), 'the most is 1m');
  t.equal(parseOne(option.size({ help }), '64k'), 65_536);
  t.match(parseOne(option.size({ help }), '64x'), 'not a size');
  t.match(parseOne(option.cidr({ help }), '10.64.0.0/12'), { base: 0x0a400000n, length: 12 });
  t.match(parseOne(option.cidr({ help }), '10.64.0.0'), '/length is missing');
  t.match(parseOne(option.cidrList({ help }), '10.0.0.0/8, fd00::/8'), [{ text: '10.0.0.0/8' }, { text: 'fd00::/8' }]);
  t.same(parseOne(option.cidrList({ help }), ''), []);
  t.match(parseOne(option.cidrList({ help }), '10.0.0.0/8,'), '/length is missing');
  t.match(parseOne(option.address({ help }), '10.0.0.1'), { text: '10.0.0.1' });
  t.match(parseOne(option.address({ help }), '10.0.0.01'), 'leading zeros');
  t.same(parseOne(option.hostPort({ help }), ':9090'), { host: '', port: 9090 });
  t.same(parseOne(option.hostPort({ help }), '[::1]:9090'), { host: '::1', port: 9090 });
  t.same(parseOne(option.hostPort({ help }), 'node-1.local:80'), { host: 'node-1.local', port: 80 });
  for (const bad of ['9090', 'a:0', 'a:65536', '::1:80', 'a b:80', '[10.0.0.1]:80', '-x:1']) {
    t.type(parseOne(option.hostPort({ help }), bad), 'string', `host:port ${bad}`);
  }
  t.equal(parseOne(option.url({ help }), 'https://etcd:2379/'), 'https://etcd:2379');
  t.match(parseOne(option.url({ help }), 'ftp://x'), 'http');
  t.match(parseOne(option.url({ help }), 'https://me:pw@x'), 'must not be part of the URL');
  t.same(parseOne(option.urlList({ help }), 'http://a:1,http://b:2'), ['http://a:1', 'http://b:2']);
  t.equal(parseOne(option.path({ help }), '/etc/x'), '/etc/x');
  t.match(parseOne(option.path({ help }), '/etc/../x'), 'write /x');
  t.match(parseOne(option.path({ help }), 'etc'), 'does not begin with /');
  t.match(parseOne(option.text({ help, pattern: /^[a-z]+$/ }), 'A'), 'not have the form');
  t.match(parseOne(option.text({ help }), 'a\nb'), 'control characters');
  t.match(parseOne(option.integer({ help, validate: (n) => (n % 2 ? 'it is odd' : undefined) }), '3'), 'it is odd');
});

t.test('a required option that is missing is named', async (t) => {
  const needed = { node: option.text({ help: 'Name.', required: true }) };
  t.match(
    textOf(() => parseOptions(needed, {}, 'network option')),
    /node="" is not valid: it is required/,
  );
  const node: string = parseOptions(needed, { node: 'a' }, 'x').node;
  t.equal(node, 'a');
});

t.test('settings come from the environment, where empty means not set', async (t) => {
  const values = fromEnv(schema, { MTU: '', INTERVAL: '5m', ETCD_PASSWORD: 'hunter2', PATH: '/bin' }, 'cloudvol');
  t.equal(values.mtu, undefined);
  t.equal(values.every, 300_000);
  t.equal(values.etcdPassword, 'hunter2');
  t.match(
    textOf(() => fromEnv(schema, { INTERVAL: '30' }, 'cloudvol')),
    /^SETTING_INVALID: INTERVAL=30 .*docker plugin set cloudvol INTERVAL=30s/,
  );
  t.equal(checkEnv(schema, { INTERVAL: '30', MTU: 'x' }, 'cloudvol').errors.length, 2);
});

t.test('a sensitive value is never shown', async (t) => {
  const text = textOf(() => fromEnv(schema, { ETCD_PASSWORD: 'zz' }, 'cloudvol'));
  t.match(text, 'ETCD_PASSWORD=***');
  t.notMatch(text, 'zz');
  const values = fromEnv(schema, { ETCD_PASSWORD: 'hunter2' }, 'cloudvol');
  t.notMatch(JSON.stringify(redact(schema, values)), 'hunter2');
  t.same(redact(schema, values), { masquerade: 'auto', allow: '', etcdPassword: '***', every: '30s' });
});

t.test('the schema documents itself', async (t) => {
  t.match(
    markdownTable(schema, 'setting'),
    '| `INTERVAL` | a time such as 30s or 5m of at least 1s | `30s` | Pause. |',
  );
  t.match(markdownTable(schema), '| `mtu` |');
  t.same(describe(schema, 'setting').env[4], {
    name: 'INTERVAL',
    description: 'Pause. Allowed: a time such as 30s or 5m of at least 1s.',
    settable: ['value'],
    value: '30s',
  });
});
