import t from 'tap';
import { openNftables } from '../../../../shared/kernel/nftables.ts';
import { makeNamespace } from './namespaces.ts';

t.test('a script is one transaction: when a part fails, nothing is done', (t) => {
  using nft = openNftables(makeNamespace(t).fd);
  nft.run('add table inet here\nadd chain inet here one', 'to begin');
  t.throws(() => nft.run('add chain inet here two\nadd rule inet here three drop', 'to add rules'), {
    code: 'FIREWALL',
    message: /^FIREWALL: The firewall refused to add rules: No such file or directory/,
  });
  t.throws(() => nft.run('add chain inet here two\nbogus', 'to add rules'), { message: /syntax error/ });
  t.match(nft.run('list table inet here', 'to list'), 'chain one');
  t.notMatch(nft.run('list table inet here', 'to list'), 'chain two');
  t.end();
});

t.test('a listing says nothing of counters, and protocols as numbers, or all as JSON with handles', (t) => {
  using nft = openNftables(makeNamespace(t).fd);
  nft.run('add table ip here\nadd chain ip here one\nadd rule ip here one meta l4proto 132 counter drop', 'to begin');
  t.match(nft.run('list table ip here', 'to list'), /meta l4proto 132 counter drop/);
  const parsed: { nftables: { rule?: { handle: number } }[] } = JSON.parse(nft.json('list table ip here', 'to list'));
  t.equal(parsed.nftables.filter(({ rule }) => typeof rule?.handle === 'number').length, 1);
  t.match(nft.run('list table ip here', 'to list'), /^table ip here/, 'and as text again');
  t.end();
});

t.test('each handle stays in its namespace', (t) => {
  const [one, two] = [makeNamespace(t), makeNamespace(t)];
  using first = openNftables(one.fd);
  using second = openNftables(two.fd);
  first.run('add table inet here', 'to begin');
  t.equal(second.run('list tables', 'to list'), '');
  t.equal(first.run('list tables', 'to list'), 'table inet here\n');
  t.end();
});

t.test('changes that somebody else made are told from our own', (t) => {
  const namespace = makeNamespace(t);
  using nft = openNftables(namespace.fd);
  using other = openNftables(namespace.fd);
  const before = nft.foreignChanges();
  nft.change('create table inet here\ncreate set inet here ports { type inet_service; }', 'to begin');
  nft.change('create element inet here ports { 80, 81 }', 'to add');
  nft.change('delete element inet here ports { 80 }', 'to delete');
  t.throws(() => nft.change('create element inet here ports { 81 }', 'to add'), { message: /exists/ });
  nft.json('list ruleset', 'to list');
  t.equal(nft.foreignChanges(), before);
  const seen = [before];
  for (const script of ['add table ip filter', 'add chain ip filter FORWARD', 'delete table ip filter']) {
    other.run(script, 'to be somebody else');
    nft.change('create element inet here ports { 80 }', 'to add');
    nft.change('delete element inet here ports { 80 }', 'to delete');
    t.notOk(seen.includes(nft.foreignChanges()), script);
    seen.push(nft.foreignChanges());
  }
  t.end();
});

t.test('a closed handle refuses to work', (t) => {
  const nft = openNftables(makeNamespace(t).fd);
  nft.close();
  nft.close();
  t.throws(() => nft.run('list tables', 'to list'), { code: 'FIREWALL', message: /closed/ });
  t.end();
});

t.test('memory stays level over thousands of changes', (t) => {
  using nft = openNftables(makeNamespace(t).fd);
  nft.run('add table inet here\nadd set inet here ports { type inet_service; }', 'to begin');
  const change = (times: number): void => {
    for (let i = 0; i < times; i++) {
      nft.run('add element inet here ports { 80 }', 'to add');
      nft.run('delete element inet here ports { 80 }', 'to delete');
    }
  };
  change(500);
  const before = process.memoryUsage.rss();
  change(2000);
  t.ok(process.memoryUsage.rss() - before < 8 << 20);
  t.end();
});
