import t from 'tap';
import { type Node, Nodes } from '../../../../volume-plugin/objectfs/nodes.ts';
import { Shedding } from '../../../../volume-plugin/objectfs/shedding.ts';

const FILE = 0o100644;
const FOLDER = 0o040755;
const none = (): boolean => false;

const tree = (): { nodes: Nodes; a: Node; b: Node; f: Node } => {
  const nodes = new Nodes(0o755);
  const a = nodes.make(nodes.root, 'a', FOLDER);
  const b = nodes.make(a, 'b', FOLDER);
  const f = nodes.make(b, 'f', FILE);
  return { nodes, a, b, f };
};

t.test('a path follows its folders, and ends with those that were unlinked', async (t) => {
  const { nodes, a, b, f } = tree();
  t.equal(nodes.path(f), 'a/b/f');
  nodes.place(b, nodes.root, 'c');
  t.equal(nodes.path(f), 'c/f');
  t.equal(nodes.child(a, 'b'), undefined);
  nodes.cut(b);
  t.equal(nodes.path(f), undefined);
  t.equal(nodes.path(nodes.root), '');
});

t.test('a node that takes a name cuts off the one that had it', async (t) => {
  const { nodes, b, f } = tree();
  const g = nodes.make(b, 'g', FILE);
  nodes.place(g, b, 'f');
  t.equal(f.unlinked, true);
  t.equal(nodes.child(b, 'f'), g);
  t.equal(nodes.get(f.id), f, 'it is known by its number until the kernel forgets it');
  nodes.place(g, b, 'f');
  t.equal(g.unlinked, false, 'to stay where it is does no harm');
});

t.test('what the kernel has forgotten goes, with the folders that were there for it', async (t) => {
  const { nodes, a, b, f } = tree();
  f.refs = 3;
  nodes.forget(f, 2);
  t.same(nodes.drop(f, none), [], 'it has one reference left');
  nodes.forget(f, 1);
  t.same(
    nodes.drop(f, (one) => one === f),
    [],
    'its bytes are not in the store yet',
  );
  t.same(nodes.drop(f, none), [f, b, a]);
  t.equal(nodes.size, 1);
  t.equal(nodes.root.children, undefined);
});

t.test('a node of an earlier life goes when the kernel gives back more than it got in this one', async (t) => {
  const { nodes, f } = tree();
  f.inherited = true;
  f.refs = 1;
  nodes.forget(f, 1);
  t.same(nodes.drop(f, none), [], 'one reference is of this life');
  nodes.forget(f, 5);
  t.equal(nodes.drop(f, none).length, 3);
});

t.test('the kernel is asked to forget names, the oldest first, until the table is small again', async (t) => {
  const nodes = new Nodes(0o755);
  const asked: string[] = [];
  const shedding = new Shedding(
    nodes,
    (parent, name) => {
      asked.push(`${parent} ${name}`);
      const node = nodes.child(nodes.root, name);
      if (node === undefined) return;
      nodes.forget(node, 1);
      nodes.drop(node, none);
    },
    100,
  );
  t.teardown(() => shedding.close());
  for (let n = 0; n < 3_000; n += 1) {
    const node = nodes.make(nodes.root, `f${n}`, FILE);
    node.refs = 1;
    if (n === 3) node.lively.opens = 1;
    shedding.given();
  }
  const end = performance.now() + 10_000;
  while (nodes.size > 1_100 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  t.ok(nodes.size <= 1_100, `${nodes.size} are left`);
  t.same(asked.slice(0, 4), ['1 f0', '1 f1', '1 f2', '1 f4'], 'not what is open');
});

t.test('numbers are not given twice', async (t) => {
  const { nodes, f } = tree();
  nodes.make(nodes.root, 'old', FILE, 500);
  t.equal(nodes.make(nodes.root, 'new', FILE).id, 501);
  nodes.skipTo(400);
  t.equal(nodes.next, 502);
  nodes.drop(f, none);
  t.equal(nodes.make(nodes.root, 'another', FILE).id, 502);
});
