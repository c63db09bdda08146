import t from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import {
  CHAIN,
  type FilterTable,
  ForwardAccepts,
  type ForwardRule,
  judge,
  leavesOurs,
  parseRule,
} from '../../../../shared/kernel/iptables.ts';
import { silentLogger } from '../../../../shared/log.ts';

const rule = (target: string, elsewhere = false): ForwardRule => ({ target, elsewhere });
const ours = rule(CHAIN);
const c = newContext(silentLogger, 30_000);

t.test('a rule of FORWARD is read as its target and whether it can concern our links', (t) => {
  t.same(parseRule('-A FORWARD -j DOCKER-USER'), rule('DOCKER-USER'));
  t.same(parseRule('-A FORWARD -i eth0 -j DROP'), rule('DROP', true));
  t.same(parseRule('-A FORWARD ! -i eth0 -j DROP'), rule('DROP'), 'not eth0 may be ours');
  t.same(parseRule('-A FORWARD -i docker0 ! -o docker0 -j ACCEPT'), rule('ACCEPT', true));
  t.same(parseRule('-A FORWARD -s 10.0.0.0/8 -g OTHER'), rule('OTHER'));
  t.same(parseRule('-A FORWARD -p tcp'), rule(''));
  t.end();
});

t.test('a link name with a wildcard may stand for ours', (t) => {
  for (const link of ['dry0123', 'dry+', 'd+', '+', 'dry0+', '*']) t.equal(leavesOurs(link), false, link);
  for (const link of ['docker0', 'dr0', 'eth+', 'br-*']) t.equal(leavesOurs(link), true, link);
  t.end();
});

t.test('what keeps the accepts from working is named, and the best place found', (t) => {
  const cases: readonly (readonly [
    string,
    readonly ForwardRule[],
    boolean | undefined,
    RegExp | undefined,
    number | undefined,
  ])[] = [
    ['nothing there', [], undefined, /has no chain/, undefined],
    ['changed chain', [ours], false, /other rules/, undefined],
    ['no jump', [rule('DOCKER-USER'), rule('DOCKER-FORWARD')], true, /no jump/, 0],
    ['first', [ours, rule('DROP')], true, undefined, undefined],
    ['before DOCKER-USER', [ours, rule('DOCKER-USER')], true, /before DOCKER-USER/, 1],
    ['behind DOCKER-USER', [rule('DOCKER-USER'), ours], true, undefined, 0],
    ['behind other chains', [rule('DOCKER-USER'), rule('DOCKER-FORWARD'), rule('ACCEPT'), ours], true, undefined, 0],
    ['behind a drop', [rule('DROP'), ours], true, /refuses packets before/, undefined],
    ['behind a drop of other links', [rule('DROP', true), ours], true, undefined, undefined],
    ['twice', [ours, ours], true, /2 times/, undefined],
  ];
  for (const [name, forward, own, problem, behind] of cases) {
    const found = judge({ forward, own });
    if (problem === undefined) t.equal(found.problem, undefined, name);
    else t.match(found.problem, problem, name);
    t.equal(found.behind, behind, name);
  }
  t.end();
});

const table = (name: string, more: Partial<FilterTable> = {}): FilterTable & { readonly calls: string[] } => {
  const calls: string[] = [];
  return {
    name,
    calls,
    live: () => true,
    read: async () => ({ forward: [ours], own: true }),
    write: async () => void calls.push('write'),
    remove: async () => void calls.push('remove'),
    ...more,
  };
};

t.test('a table that cannot be read is told as drift and keeps no other from being repaired', async (t) => {
  const broken = table('broken', {
    read: () => Promise.reject(new PluginError('EXEC_FAILED', { command: 'iptables' })),
  });
  const bare = table('bare', { read: async () => ({ forward: [], own: undefined }) });
  t.match(await new ForwardAccepts([broken, bare]).check(true, c), [
    { what: /^broken could not be checked: EXEC_FAILED/, repaired: false },
    { what: /^bare has no chain/, repaired: true },
  ]);
  t.same(bare.calls, ['write']);
});

t.test('ensure only looks closer when a table has come into use', async (t) => {
  let reads = 0;
  let live = false;
  const late = table('late', {
    live: () => live,
    read: async () => {
      reads += 1;
      return { forward: [], own: undefined };
    },
  });
  const accepts = new ForwardAccepts([late]);
  await accepts.check(true, c);
  await accepts.ensure(c);
  t.equal(reads, 0);
  live = true;
  t.match(await accepts.ensure(c), [{ repaired: true }]);
  t.same(await accepts.ensure(c), []);
  t.equal(reads, 1);
  t.same(late.calls, ['write']);
});
