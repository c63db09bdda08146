import t from 'tap';
import { isKernelError, KernelError } from '../../../../shared/kernel/kernel-error.ts';
import { findLink, listLinks } from '../../../../shared/kernel/link.ts';
import { createVeth, deleteLink, setLink } from '../../../../shared/kernel/link-change.ts';
import { NLM_F_CREATE, type Request } from '../../../../shared/kernel/netlink-request.ts';
import { addRoute, listRoutes, RTPROT_DRAYAGE, replaceRoute } from '../../../../shared/kernel/route.ts';
import { Rtnetlink } from '../../../../shared/kernel/rtnetlink.ts';
import { makeNamespace } from './namespaces.ts';

const thrown = (work: () => void): KernelError => {
  try {
    work();
  } catch (error) {
    if (error instanceof KernelError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

t.test('an error says what was tried, the errno and the kernel’s explanation', async (t) => {
  const { rt } = makeNamespace(t);
  const error = thrown(() => rt.run(addRoute({ destination: '10.1.2.3/16', link: 1 })));
  t.equal(error.code, 'KERNEL');
  t.equal(error.errnoName, 'EINVAL');
  t.equal(error.errno, 22);
  t.equal(error.what, 'add route 10.1.2.3/16 on link 1');
  t.match(error.reason, /[Ii]nvalid prefix/);
  t.match(error.toUserText(), /refused to add route 10.1.2.3\/16 on link 1: EINVAL \(.*[Ii]nvalid prefix/);
  t.ok(isKernelError(error) && isKernelError(error, 'EINVAL') && !isKernelError(error, 'EEXIST'));
  t.notOk(isKernelError(new Error('EINVAL'), 'EINVAL'));
});

t.test('an error without an explanation still says what the errno means', async (t) => {
  const { rt } = makeNamespace(t);
  const error = thrown(() => rt.run(deleteLink({ name: 'nothere' })));
  t.equal(error.errnoName, 'ENODEV');
  t.match(error.message, /refused to delete nothere: ENODEV \(no such device/);
});

t.test('a batch runs whole and reports each failure in its place', async (t) => {
  const { rt } = makeNamespace(t);
  const failures = rt.attempt([
    addRoute({ destination: '10.0.0.0/24', type: 'unreachable' }),
    addRoute({ destination: '10.0.0.0/24', type: 'unreachable' }),
    addRoute({ destination: '10.0.1.0/24', link: 999 }),
    addRoute({ destination: '10.0.2.0/24', type: 'unreachable' }),
  ]);
  t.same(
    failures.map((failure) => failure?.errnoName),
    [undefined, 'EEXIST', 'ENODEV', undefined],
  );
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 2);
  const error = thrown(() =>
    rt.run(
      addRoute({ destination: '10.0.2.0/24', type: 'unreachable' }),
      addRoute({ destination: '10.0.3.0/24', type: 'unreachable' }),
    ),
  );
  t.equal(error.errnoName, 'EEXIST', 'the first failure is thrown');
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 3, 'after all were tried');
  t.same(rt.attempt([]), []);
});

t.test('a request that cannot be expressed stops the batch before anything is sent', async (t) => {
  const { rt } = makeNamespace(t);
  t.throws(
    () =>
      rt.run(
        addRoute({ destination: '10.0.0.0/24', type: 'unreachable' }),
        addRoute({ destination: 'nonsense', type: 'unreachable' }),
      ),
    RangeError,
  );
  t.same(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }), []);
  rt.run(addRoute({ destination: '10.0.0.0/24', type: 'unreachable' }));
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 1, 'and the socket goes on');
});

t.test('1,000 routes in one call, and a dump of many datagrams', async (t) => {
  const { rt } = makeNamespace(t);
  const all = Array.from({ length: 1000 }, (_, n) => `10.1.${n >> 8}.${n & 255}/32`);
  rt.run(...all.map((destination) => replaceRoute({ destination, link: 1 })));
  const found = listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).map(({ destination }) => destination);
  t.same(found.sort(), all.sort());
});

t.test('a reader that throws in the middle of a dump does not spoil the next one', async (t) => {
  const { rt } = makeNamespace(t);
  rt.run(
    ...Array.from({ length: 2000 }, (_, n) => replaceRoute({ destination: `10.1.${n >> 8}.${n & 255}/32`, link: 1 })),
  );
  const request: Request = { type: 18, flags: 0, what: 'list', write: (writer) => writer.body(16, () => undefined) };
  const routes: Request = {
    ...request,
    type: 26,
    write: (writer) => writer.body(12, (bytes, at) => bytes.fill(2, at, at + 1)),
  };
  for (const each of [request, routes]) {
    t.throws(
      () =>
        rt.dump(each, () => {
          throw new Error('reader');
        }),
      /reader/,
    );
  }
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 2000);
});

t.test('when the receive buffer overflows, answers are lost but the socket is not', async (t) => {
  const { rt, fd } = makeNamespace(t);
  using small = Rtnetlink.open({ netns: fd, receiveBuffer: 2048 });
  const routes = Array.from({ length: 300 }, (_, n) => ({ destination: `10.1.${n >> 8}.${n & 255}/32`, link: 1 }));
  t.same(small.attempt(routes.map(replaceRoute)).filter(Boolean), [], 'what succeeds needs no room');
  const names = (failures: readonly (KernelError | undefined)[]): string[] =>
    failures.map((failure) => failure?.errnoName ?? 'none');
  const failures = small.attempt(routes.map(addRoute));
  t.ok(names(failures).includes('ENOBUFS'), 'some refusals did not fit');
  t.notOk(names(failures).includes('none'), 'and what is not known did not succeed');
  const lost = failures.find((failure) => failure?.errnoName === 'ENOBUFS');
  t.match(lost?.reason, /outcome is unknown/);
  t.equal(listRoutes(rt, { family: 2, protocol: RTPROT_DRAYAGE }).length, 300, 'all were carried out');
  t.equal(listRoutes(small, { family: 2, protocol: RTPROT_DRAYAGE }).length, 300, 'the socket reads on');
  t.equal(thrown(() => small.run(deleteLink({ name: 'nothere' }))).errnoName, 'ENODEV', 'answers match their requests');
  t.same(
    new Set(names(rt.attempt(routes.map(addRoute)))),
    new Set(['EEXIST']),
    'a buffer of the usual size loses none',
  );
});

t.test('a dump while links come and go is whole or says that it is not', async (t) => {
  const { rt, fd, run } = makeNamespace(t);
  for (let n = 0; n < 60; n++) rt.run(createVeth({ name: `s${n}`, peer: `p${n}` }));
  const script = 'for i in $(seq 40); do ip link add x$i type veth peer name y$i; ip link set x$i name z$i; done';
  let busy = true;
  const churn = run('sh', '-c', script).finally(() => {
    busy = false;
  });
  using other = Rtnetlink.open({ netns: fd });
  let dumps = 0;
  while (busy) {
    try {
      const names = listLinks(other, { kind: 'veth' }).map(({ name }) => name);
      if (names.filter((name) => /^[sp]\d/.test(name)).length !== 120) t.fail(`${names.length} links in a dump`);
      dumps++;
    } catch (error) {
      if (!isKernelError(error, 'EINTR')) throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal((await churn).status, 0);
  t.ok(dumps > 0);
  t.equal(listLinks(other, { kind: 'veth' }).length, 200);
});

t.test('a namespace by descriptor: the socket works there, the thread stays here', async (t) => {
  const { rt, ip } = makeNamespace(t);
  rt.run(createVeth({ name: 'there', peer: 'there2' }));
  t.ok(ip('link').some(({ ifname }) => ifname === 'there'));
  using here = Rtnetlink.open();
  t.equal(findLink(here, { name: 'there' }), undefined);
  t.throws(() => Rtnetlink.open({ netns: 0 }), { code: 'KERNEL' }, 'a descriptor of something else');
});

t.test('sockets do not outlive close, and close can be repeated', async (t) => {
  const { fd } = makeNamespace(t);
  const rt = Rtnetlink.open({ netns: fd });
  rt.close();
  rt.close();
  t.throws(() => rt.run(setLink({ name: 'lo' }, { up: true })), { code: 'KERNEL' });
});

t.test('a request of an unknown kind is refused by the kernel and described', async (t) => {
  const { rt } = makeNamespace(t);
  const request = { type: 999, flags: NLM_F_CREATE, what: 'do what nobody knows', write: () => undefined };
  t.match(thrown(() => rt.run(request)).message, /refused to do what nobody knows: (EOPNOTSUPP|ENOTSUP|EINVAL)/);
});
