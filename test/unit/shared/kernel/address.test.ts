import t from 'tap';
import { addAddress, deleteAddress, listAddresses, replaceAddress } from '../../../../shared/kernel/address.ts';
import { createVeth } from '../../../../shared/kernel/link-change.ts';
import { makeNamespace } from './namespaces.ts';

t.test('addresses of both families, with scope, label and flags, as ip shows them', async (t) => {
  const { rt, ip, link } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb', up: true }));
  const { index } = link('va');
  rt.run(
    addAddress({ link: index, address: '169.254.1.1/32', scope: 'link' }),
    addAddress({ link: index, address: '10.0.0.5/24', label: 'va:web', broadcast: '10.0.0.255', noPrefixRoute: true }),
    addAddress({ link: index, address: 'fe80::1/64', noDad: true }),
    addAddress({ link: index, address: 'fd00::5/64', noDad: true }),
  );
  const info = ip('addr', 'show', 'va')[0]?.['addr_info'];
  t.match(info, [
    { family: 'inet', local: '169.254.1.1', prefixlen: 32, scope: 'link' },
    { family: 'inet', local: '10.0.0.5', prefixlen: 24, scope: 'global', label: 'va:web', broadcast: '10.0.0.255' },
    { family: 'inet6', local: 'fd00::5', prefixlen: 64, scope: 'global', nodad: true },
  ]);
  const found = listAddresses(rt, { link: index });
  const of = (address: string) => found.find((each) => each.address === address);
  t.match(of('169.254.1.1/32'), { family: 2, scope: 'link', permanent: true, noDad: false });
  t.match(of('10.0.0.5/24'), { label: 'va:web', broadcast: '10.0.0.255', noPrefixRoute: true });
  t.match(of('fe80::1/64'), { family: 10, scope: 'link', noDad: true, tentative: false });
  t.match(of('fd00::5/64'), { scope: 'global' });
});

t.test('add refuses what is there, replace takes it, delete refuses what is not', async (t) => {
  const { rt } = makeNamespace(t);
  const spec = { link: 1, address: '10.0.0.5/24' };
  rt.run(addAddress(spec));
  t.throws(() => rt.run(addAddress(spec)), { code: 'KERNEL', errnoName: 'EEXIST' });
  rt.run(replaceAddress(spec), replaceAddress({ ...spec, address: 'fd00::5/64', noPrefixRoute: true }));
  rt.run(replaceAddress({ ...spec, address: 'fd00::5/64' }));
  const changed = listAddresses(rt, { family: 10, link: 1 }).filter(({ address }) => address === 'fd00::5/64');
  t.match(changed, [{ noPrefixRoute: false }], 'IPv6 takes over the flags');
  rt.run(deleteAddress(spec));
  t.throws(() => rt.run(deleteAddress(spec)), { code: 'KERNEL', errnoName: 'EADDRNOTAVAIL' });
});

t.test('lists are filtered by family and link', async (t) => {
  const { rt, link } = makeNamespace(t);
  rt.run(createVeth({ name: 'va', peer: 'vb' }));
  const { index } = link('va');
  rt.run(addAddress({ link: index, address: '10.0.0.5/24' }), addAddress({ link: index, address: 'fd00::5/64' }));
  const texts = (filter: object): string[] =>
    listAddresses(rt, filter)
      .map(({ address }) => address)
      .sort();
  t.same(texts({ family: 2 }), ['10.0.0.5/24', '127.0.0.1/8']);
  t.same(texts({ family: 10 }), ['::1/128', 'fd00::5/64']);
  t.same(texts({ link: index }), ['10.0.0.5/24', 'fd00::5/64']);
  t.same(texts({}), ['10.0.0.5/24', '127.0.0.1/8', '::1/128', 'fd00::5/64'].sort());
});

t.test('wrong input', async (t) => {
  const { rt } = makeNamespace(t);
  t.throws(() => rt.run(addAddress({ link: 1, address: 'here' })), RangeError);
  t.throws(() => rt.run(addAddress({ link: 1, address: '10.0.0.1/40' })), RangeError);
  t.throws(() => rt.run(addAddress({ link: -1, address: '10.0.0.1/32' })), RangeError);
  t.throws(() => rt.run(addAddress({ link: 77, address: '10.0.0.1/32' })), { code: 'KERNEL', errnoName: 'ENODEV' });
});
