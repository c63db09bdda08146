// The commands that documents tell people to type are understood: by `drayage`, and by the options and settings of both
// plugins. Nothing is run but `drayage` itself, without a plugin to ask.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { main } from '../bin/cli/main.ts';
import { IPAM_OPTIONS, NETWORK_OPTIONS, SETTINGS } from '../network-plugin/options.ts';
import { checkEnv, checkOptions, envName, type Schema } from '../shared/options.ts';
import { OPTIONS as VOLUME_OPTIONS } from '../volume-plugin/backends/registry.ts';
import { SETTINGS as VOLUME_SETTINGS } from '../volume-plugin/options.ts';

const root = join(import.meta.dirname, '..');
const DOCUMENTS = ['README.md', 'docs/operations.md', 'plugin-configs/swarm/README.md'];

/** Commands in the code blocks of a document, as words: without comments, redirections and what a table says of them. */
function commandsIn(markdown: string): string[][] {
  return [...markdown.matchAll(/^ *```\w*\n([\s\S]*?)^ *```/gm)]
    .flatMap(([, block = '']) => block.split('\n'))
    .map((line) => line.trim().replace(/\s+#.*$|\s+>.*$|\s+&&.*$/, ''))
    .map((line) => (line.startsWith('drayage ') ? line.replace(/ {2,}.*/, '') : line))
    .map((line) => [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", '')));
}

/** Words like `-o NAME=value` of one option, by name. */
const given = (words: readonly string[], flag: string): Record<string, string> =>
  Object.fromEntries(
    words.flatMap((word, n) => {
      const [name = '', ...value] = words[n - 1] === flag ? word.split('=') : [];
      return name === '' ? [] : [[name, value.join('=')]];
    }),
  );

const optionProblems = (schema: Schema, input: Record<string, string>, where: string): string[] =>
  checkOptions(schema, input, where).errors.map(({ message }) => message);

function settingProblems(schema: Schema, assignments: readonly string[]): string[] {
  const known = new Set(Object.entries(schema).map(([name, one]) => envName(name, one)));
  // `NAME=value` and what ends in an ellipsis stand for whatever people have.
  const pairs = assignments.filter(
    (one) => !one.startsWith('NAME=') && !one.endsWith('…') && !/^\w+\.source=/.test(one),
  );
  const env = Object.fromEntries(pairs.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]));
  const unknown = Object.keys(env).filter((name) => !known.has(name));
  return [
    ...unknown.map((name) => `there is no setting ${name}`),
    ...checkEnv(schema, env, 'a plugin').errors.map(({ message }) => message),
  ];
}

/** What `drayage` says of words that it does not understand; it asks a plugin that is not there. */
async function drayageProblems(words: readonly string[]): Promise<string[]> {
  const said: string[] = [];
  const output = { out: () => undefined, error: (text: string) => void said.push(text) };
  const code = await main(words, { DRAYAGE_STATE: '/nonexistent' }, output);
  return code === 0 || code === 3 ? [] : said;
}

/** Undefined: nobody here knows such a command. */
async function problemsOf(words: readonly string[]): Promise<string[] | undefined> {
  const [program = '', what, verb, target] = words;
  if (/^(bin\/)?drayage$/.test(program)) return await drayageProblems(words.slice(1));
  if (program !== 'docker') return undefined;
  if (what === 'plugin' && verb === 'set') {
    return settingProblems(target === 'cloudvol' ? VOLUME_SETTINGS : SETTINGS, words.slice(4));
  }
  if (verb !== 'create') return undefined;
  if (what === 'volume') {
    const { type = 'block', ...options } = given(words, '-o');
    return optionProblems(
      VOLUME_OPTIONS[type === 'nfs' || type === 'object' ? type : 'block'],
      options,
      'volume option',
    );
  }
  if (what !== 'network') return undefined;
  return [
    ...optionProblems(NETWORK_OPTIONS, given(words, '-o'), 'network option'),
    ...optionProblems(IPAM_OPTIONS, given(words, '--ipam-opt'), 'IPAM option'),
  ];
}

for (const path of DOCUMENTS) {
  t.test(`the commands of ${path} are understood`, async (t) => {
    let understood = 0;
    for (const words of commandsIn(readFileSync(join(root, path), 'utf8'))) {
      const problems = await problemsOf(words);
      if (problems === undefined) continue;
      understood += 1;
      t.same(problems, [], words.join(' '));
    }
    t.ok(understood > 1, 'there are commands in it');
  });
}

t.test('commands that nobody understands are noticed', async (t) => {
  const text = [
    '```',
    'docker volume create -d cloudvol -o type=block -o sise=20GiB -o fs=ext5 data   # why',
    "docker plugin set cloudvol PROVIDER=efs PEERS='a b' NAME=value …",
    'docker network create -d vpc -o mtu=1 --ipam-opt pol=10.0.0.0/8 web',
    'drayage volume grow data',
    'bin/drayage policy aws --vpc vpc-1 --cluster a > file',
    'drayage volume resize data 40GiB   makes it larger',
    'ls',
    '```',
  ].join('\n');
  const found = await Promise.all(commandsIn(text).map(problemsOf));
  t.match(found, [
    [/no volume option "sise"/, /fs=ext5/],
    [/no setting PEERS/, /PROVIDER=efs/],
    [/mtu=1/, /no IPAM option "pol"/],
    [/no .*"grow"|volume grow/],
    [/--cluster does not go with policy aws/],
    [],
    undefined,
  ]);
});
