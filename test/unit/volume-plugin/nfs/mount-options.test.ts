import t from 'tap';
import {
  formatMountOptions,
  mergeMountOptions,
  mountOptionsProblem,
  parseMountOptions,
  sortedMountOptions,
  strangerTo,
} from '../../../../volume-plugin/nfs/mount-options.ts';
import { NFS_VERSIONS } from '../../../../volume-plugin/nfs/share.ts';
import { mountOptionsFor, serverTraits } from '../../../../volume-plugin/nfs/vendors.ts';

t.test('what is known is taken in any order, with its values', async (t) => {
  for (const text of [
    'soft',
    'rsize=65536,timeo=100,soft',
    ' noac , lookupcache=none',
    'local_lock=flock',
    'nconnect=16',
  ]) {
    t.equal(mountOptionsProblem(text), undefined, text);
  }
  const options = parseMountOptions('rsize=65536, soft');
  t.same(options, { rsize: '65536', soft: true });
  t.equal(formatMountOptions(options), 'rsize=65536,soft');
  t.equal(sortedMountOptions(parseMountOptions('timeo=1,soft')), sortedMountOptions(parseMountOptions('soft,timeo=1')));
  t.same(parseMountOptions(undefined), {});
});

t.test('what is unknown, wrong or set elsewhere is refused with the way out', async (t) => {
  for (const [text, pattern] of [
    ['rsise=65536', /"rsise" is not known; did you mean rsize\?/],
    ['', /"" is not known/],
    ['soft,,hard', /"" is not known/],
    ['rsize', /rsize must be a whole number from 1024 to 1048576 in steps of 1024/],
    ['rsize=1000', /rsize must be/],
    ['rsize=2097152', /rsize must be/],
    ['timeo=1e3', /timeo must be/],
    ['soft=1', /soft takes no value/],
    ['soft,hard', /soft and hard exclude each other/],
    ['timeo=1,timeo=2', /timeo is there twice/],
    ['lookupcache=some', /lookupcache must be all or none/],
    ['ro', /readonly=true/],
    ['vers=3', /nfsvers=/],
    ['port=2050', /nfs:\/\/HOST:PORT/],
    ['lock', /rpc\.statd/],
    ['udp', /damaged/],
    ['dev', /devices/],
    ['sec=krb5', /sec must be sys/],
    ['addr=10.0.0.1', /that of the share/],
    ['constructor', /"constructor" is not known/],
    ['exec,suid,bind', /"bind" is not known/],
  ] as const) {
    t.match(mountOptionsProblem(text), pattern, text);
  }
});

t.test('each of the vendor’s recommendations gives way to what was asked for, and others stay', async (t) => {
  const efs = mountOptionsFor('efs', '4.1', {});
  t.equal(formatMountOptions(efs), 'rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport');
  const changed = mountOptionsFor('efs', '4.1', { soft: true, rsize: '65536', resvport: true });
  t.equal(formatMountOptions(changed), 'wsize=1048576,timeo=600,retrans=2,soft,rsize=65536,resvport');
  t.equal(
    formatMountOptions(mountOptionsFor('nas', '3', {})),
    'nolock,proto=tcp,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport',
  );
  t.same(mountOptionsFor('nas', '4.0', {})['noresvport'], true);
  t.equal(formatMountOptions(mountOptionsFor('generic', '4.2', {})), 'hard,timeo=600,retrans=2');
  t.match(mountOptionsFor('generic', '3', {}), { nolock: true }, 'locks of version 3 stay on their host');
  t.same(mergeMountOptions({ hard: true }, {}), { hard: true });
});

t.test('what the kernel does not compare is not lost on a share that is mounted already', async (t) => {
  t.match(mountOptionsFor('generic', '4.2', { timeo: '50' }), { timeo: '50', nosharecache: true });
  const shared = mountOptionsFor('generic', '4.2', { retrans: '1', sharecache: true });
  t.match(shared, { sharecache: true });
  t.notOk('nosharecache' in shared, 'unless that is asked for');
  t.notOk('nosharecache' in mountOptionsFor('generic', '4.2', { soft: true }));
});

t.test('options of one version are strange to the other', async (t) => {
  t.equal(strangerTo('4.1', { soft: true, nolock: true }), 'nolock');
  t.equal(strangerTo('3', { nomigration: true }), 'nomigration');
  t.equal(strangerTo('3', { nolock: true, soft: true }), undefined);
});

t.test('vendors are known by their servers’ names, whatever their case', async (t) => {
  for (const [host, vendor, versions] of [
    ['fs-01234567.efs.eu-central-1.amazonaws.com', 'efs', ['4.1', '4.0']],
    ['FS-01234567.EFS.cn-north-1.amazonaws.com.cn.', 'efs', ['4.1', '4.0']],
    ['0123-abc.cn-hangzhou.nas.aliyuncs.com', 'nas', ['4.0', '3']],
    ['0123-abc.cn-hangzhou.extreme.nas.aliyuncs.com', 'nas', ['3']],
    ['nas.example.com', 'generic', NFS_VERSIONS],
    ['efs.amazonaws.com.example.org', 'generic', NFS_VERSIONS],
    ['10.0.0.5', 'generic', NFS_VERSIONS],
  ] as const) {
    t.same(serverTraits(host), { vendor, versions }, host);
  }
});
