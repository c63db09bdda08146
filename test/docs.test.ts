// The documentation says what the code does: generated parts are up to date, links lead somewhere, and each statement in
// docs/semantics.md names the test that shows it.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import { documents, withTables } from '../bin/docs.ts';

const root = join(import.meta.dirname, '..');

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function markdownFiles(): string[] {
  const rooms = ['docs', 'network-plugin', 'volume-plugin', 'plugin-configs', 'test'];
  const top = readdirSync(root).filter((name) => name.endsWith('.md'));
  const deeper = rooms
    .filter((room) => existsSync(join(root, room)))
    .flatMap((room) =>
      readdirSync(join(root, room), { recursive: true, encoding: 'utf8' }).map((name) => join(room, name)),
    )
    .filter((path) => path.endsWith('.md') && !path.includes('node_modules'));
  return [...top, ...deeper].sort();
}

/** The anchors that headings get, as GitHub makes them. */
function anchors(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}

/** Links of a document that lead nowhere. */
function brokenLinks(path: string, markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : normalize(join(dirname(path), file));
      if (!existsSync(join(root, target))) return true;
      return anchor !== undefined && !anchors(file === '' ? markdown : read(target)).includes(anchor);
    })
    .map((link) => `${path}: ${link}`);
}

/**
 * Statements of a document whose tests are not there. A statement is a list item; it ends in
 * "(test: `path` › `title`)" or "(not tested: why)".
 */
function unprovenStatements(markdown: string, readTest: (path: string) => string | undefined): string[] {
  const items = markdown.split(/\n(?=[-*] |#|\n)/).filter((block) => /^[-*] /.test(block));
  return items.flatMap((item) => {
    const text = item.replace(/\s+/g, ' ');
    if (/\(not tested: [^)]+\)$/.test(text.trim())) return [];
    const named = [...text.matchAll(/`(test\/[^`]+\.ts)` › `([^`]+)`/g)];
    if (named.length === 0) return [`names no test: ${text}`];
    return named.flatMap(([, path = '', title = '']) => {
      const source = readTest(path);
      if (source === undefined) return [`${path} is not there: ${text}`];
      const calls = source.replaceAll("\\'", "'").replace(/\(\s+/g, '(');
      const found = ["'", '"', '`'].some((quote) => calls.includes(`test(${quote}${title}${quote}`));
      return found ? [] : [`${path} has no test "${title}"`];
    });
  });
}

t.test('what is generated is up to date (npm run docs)', async (t) => {
  for (const [path, text] of documents(root)) t.equal(read(path), text, path);
  for (const name of ['network options', 'IPAM options', 'settings']) {
    t.match(read('README.md'), `<!-- ${name}: begin`, `README.md has a table of ${name}`);
  }
});

t.test('every relative link leads somewhere', async (t) => {
  const files = markdownFiles();
  t.ok(files.includes('README.md') && files.length > 5, 'the documents were found');
  t.same(
    files.flatMap((path) => brokenLinks(path, read(path))),
    [],
  );
});

t.test('every statement of docs/semantics.md names a test that is there', async (t) => {
  const problems = unprovenStatements(read('docs/semantics.md'), (path) =>
    existsSync(join(root, path)) ? read(path) : undefined,
  );
  t.same(problems, []);
});

t.test('decision records are numbered without gaps, dated and titled', async (t) => {
  const records = readdirSync(join(root, 'docs/decisions'))
    .filter((name) => /^\d/.test(name))
    .sort();
  t.ok(records.length > 0);
  records.forEach((name, index) => {
    const number = String(index + 1).padStart(4, '0');
    t.match(name, new RegExp(`^${number}-[a-z0-9-]+\\.md$`), 'numbered');
    t.match(
      read(join('docs/decisions', name)),
      new RegExp(`^# ${number}\\. .+\\n\\n\\d{4}-\\d\\d-\\d\\d · `),
      `${name}: title and date`,
    );
  });
});

t.test('old tables, broken links and unproven statements are noticed', async (t) => {
  const marked = '<!-- settings: begin -->\nold\n<!-- settings: end -->';
  t.match(withTables(marked), /^<!-- settings: begin -->\n\| Setting \|[\s\S]*`POOL`/);
  t.throws(() => withTables(marked.replace('settings: end', 'others: end')), /markers of "settings" are wrong/);
  t.same(
    brokenLinks(
      'README.md',
      '[a](gone.md) [b](#nothing) [c](https://example.org) `[d](gone.md)`\n# Some thing\n[e](#some-thing)',
    ),
    ['README.md: gone.md', 'README.md: #nothing'],
  );
  const statements =
    '- Fine. (test: `test/a.test.ts` › `works`)\n- Bare.\n- Old. (test: `test/a.test.ts` › `gone`)\n- Lost. (test: `test/b.test.ts` › `x`)\n- Later. (not tested: no machine)';
  t.match(
    unprovenStatements(statements, (path) => (path === 'test/a.test.ts' ? "t.test('works', f)" : undefined)),
    [/^names no test: - Bare/, /has no test "gone"/, /test\/b\.test\.ts is not there/],
  );
});
