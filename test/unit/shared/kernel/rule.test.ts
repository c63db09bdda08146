import t from 'tap';
import { addRule, deleteRule, listRules, type Rule } from '../../../../shared/kernel/rule.ts';
import { makeNamespace } from './namespaces.ts';

t.test('rules of both families, as ip shows them and as they are read back', async (t) => {
  const { rt, ip } = makeNamespace(t);
  const rules: Rule[] = [
    { family: 2, priority: 100, from: '10.0.0.0/8', to: '10.1.0.0/16', table: 1000 },
    { family: 2, priority: 101, iif: 'va', mark: 0x10, markMask: 0xff, table: 99 },
    { family: 2, priority: 102, action: 'unreachable', not: true, from: '10.2.0.0/16' },
    { family: 10, priority: 100, from: 'fd00::/8', oif: 'lo', protocol: 4 },
  ];
  rt.run(...rules.map(addRule));
  t.match(listRules(rt, { family: 2, protocol: 68 }), rules.slice(0, 3));
  t.match(listRules(rt, { family: 10, protocol: 4 }), [{ ...rules[3], table: 254, action: 'table' }]);
  t.match(
    ip('rule').filter(({ priority }) => Number(priority) >= 100 && Number(priority) < 200),
    [
      { src: '10.0.0.0', srclen: 8, dst: '10.1.0.0', dstlen: 16, table: '1000' },
      { iif: 'va', fwmark: '0x10', fwmask: '0xff', table: '99' },
      { not: null, src: '10.2.0.0', action: 'unreachable' },
    ],
  );
  t.throws(() => rt.run(addRule({ family: 2, priority: 100, from: '10.0.0.0/8', to: '10.1.0.0/16', table: 1000 })), {
    code: 'KERNEL',
    errnoName: 'EEXIST',
  });
  rt.run(...rules.map(deleteRule));
  t.same(listRules(rt, { family: 2, protocol: 68 }), []);
  t.throws(() => rt.run(deleteRule({ family: 2, priority: 100 })), { code: 'KERNEL', errnoName: 'ENOENT' });
  t.throws(
    () => rt.run(addRule({ family: 2, priority: 1, from: 'fd00::/8' })),
    RangeError,
    'a prefix of the other family',
  );
});
