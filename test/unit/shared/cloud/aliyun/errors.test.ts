import t from 'tap';
import {
  AliyunRefusal,
  AliyunSilence,
  isOpen,
  isTransient,
  kindOf,
  translate,
} from '../../../../../shared/cloud/aliyun/errors.ts';
import { PluginError } from '../../../../../shared/errors.ts';

const refusal = (code: string, status = 400, more: { text?: string; permission?: string } = {}): AliyunRefusal =>
  new AliyunRefusal({ action: 'vpc:CreateRouteEntry', code, text: '', status, requestId: 'ABC-1', ...more });

t.test('codes mean what the documents say, whatever their case', async (t) => {
  const meanings = {
    duplicate: [
      ...['InvalidCIDRBlock.Duplicate', 'InvalidCidrBlock.Duplicate', 'RouterEntryConflict.Duplicated'],
      ...['InvalidRouteEntry.Duplicate', 'Duplicated.VpcNextHop', 'VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE'],
    ],
    busy: [
      ...[
        'TaskConflict',
        'OperationConflict',
        'IncorrectRouteEntryStatus',
        'IncorrectVpcStatus',
        'IncorrectVSwitchStatus',
      ],
      ...[
        'LastTokenProcessing',
        'SystemBusy',
        'UnknownError',
        'VPC_ROUTE_ENTRY_STATUS_ERROR',
        'IncorrectStatus.VpcPeer',
        'OperationDenied.InvalidState',
        'InvalidFileSystemStatus.Ordering',
      ],
    ],
    throttled: ['Throttling', 'Throttling.User', 'Throttling.Api', 'THROTTLING'],
    unavailable: ['ServiceUnavailable', 'InternalError', 'SerivceUnavailableTemporary'],
    absent: ['InvalidRouteEntry.NotFound', 'VPC_ROUTER_ENTRY_NOT_EXIST', 'InvalidRouteEntryId.NotFound'],
    quota: [
      'OperationDenied.MountTargetExceedLimit',
      'QuotaExceeded',
      'QuotaExceeded.RouteEntry',
      'QuotaExceed.Snapshot',
      'QuotaExceed.PostPaidDisk',
    ],
    reserved: ['InvalidCidrBlock', 'InvalidCidrBlock.Overlapped', 'invalidcidrblock.malformed'],
    'no-table': ['InvalidRouteTableId.NotFound', 'InvalidRouteTable.NotFound'],
    expired: ['InvalidSecurityToken.Expired'],
    auth: ['InvalidAccessKeyId.NotFound', 'SignatureDoesNotMatch', 'InvalidSecurityToken.Malformed'],
    clock: ['InvalidTimeStamp.Expired', 'IllegalTimestamp'],
    permission: [
      'Forbidden.RAM',
      'Forbbiden.Ram',
      'NoPermission',
      'NoPermission.Api',
      'SubAccount.NoStandardSLRPermission',
    ],
    'dry-run': ['DryRunOperation'],
    'no-disk': ['InvalidDiskId.NotFound', 'InvalidResourceId.NotFound'],
    'no-snapshot': ['InvalidSnapshotId.NotFound'],
    'no-instance': ['InvalidInstanceId.NotFound'],
    'disk-state': ['IncorrectDiskStatus'],
    copying: ['DiskCreatingSnapshot', 'IncorrectDiskStatus.CreatingSnapshot'],
    full: ['InstanceDiskLimitExceeded'],
    locked: ['DiskInArrears', 'InstanceLockedForSecurity'],
    mismatch: ['IdempotentParameterMismatch'],
    'no-share': ['InvalidFileSystem.NotFound', 'Forbidden.NasNotFound', 'InvalidMountTarget.NotFound'],
    exists: ['InvalidAccessGroup.AlreadyExisted', 'InvalidMountTarget.AlreadyExisted'],
    'no-folder': ['InvalidParameter.DirPathNotExist'],
    'no-limit': ['InvalidParameter.QuotaNotExistOnPath'],
    refused: ['InvalidNextHopId.NotFound', 'NotSupportDiskCategory', 'DiskNotPortable', 'SomethingNew'],
  } as const;
  for (const [kind, codes] of Object.entries(meanings)) {
    for (const code of codes) {
      t.equal(kindOf(code, 400), kind, code);
      t.equal(kindOf(code.toUpperCase(), 400), kind, code.toUpperCase());
    }
  }
});

t.test('codes that nobody knows go by the status', async (t) => {
  t.equal(kindOf('Whatever', 429), 'throttled');
  t.equal(kindOf('Whatever', 503), 'unavailable');
  t.equal(kindOf('Whatever', 404), 'refused');
});

t.test('the missing right is named: that of the answer, or the call’s own', async (t) => {
  t.match(translate(refusal('Forbidden.RAM', 403), { role: 'web' }), {
    code: 'PROVIDER_PERMISSION',
    context: { permission: 'vpc:CreateRouteEntry', role: 'web' },
  });
  t.match(translate(refusal('NoPermission', 403, { permission: 'ram:PassRole' })), {
    context: { permission: 'ram:PassRole' },
  });
});

t.test('what the service says of a signature is not repeated: it quotes the key', async (t) => {
  const text =
    'Specified signature is not matched: server string to sign is: AccessKeyId=LTAI5tSecretive&SecurityToken=abc';
  for (const code of ['SignatureDoesNotMatch', 'InvalidAccessKeyId.NotFound', 'InvalidSecurityToken.Malformed']) {
    const error = translate(refusal(code, 403, { text }));
    t.ok(error instanceof PluginError);
    t.match(error, { code: 'PROVIDER_AUTH', message: new RegExp(code.replaceAll('.', '\\.')) });
    t.notMatch(error instanceof PluginError ? error.toUserText() : '', /LTAI5tSecretive|SecurityToken=abc/);
  }
});

t.test('other refusals are told in the service’s words, with its id for them', async (t) => {
  t.match(translate(refusal('InvalidNextHopId.NotFound', 404, { text: 'Specified next hop does not exist.' })), {
    code: 'PROVIDER_REFUSED',
    message: /vpc:CreateRouteEntry.*InvalidNextHopId\.NotFound.*does not exist.*ABC-1/,
  });
  const plain = new Error('plain');
  t.equal(translate(plain), plain);
});

t.test('only where nothing can have happened the outcome of a write is not open', async (t) => {
  t.ok(isOpen(new AliyunSilence('vpc:X', 'ECONNRESET', false)));
  t.ok(isOpen(refusal('ServiceUnavailable', 503)));
  t.notOk(isOpen(new AliyunSilence('vpc:X', 'ECONNREFUSED', true)));
  t.notOk(isOpen(refusal('TaskConflict')));
  t.ok(isTransient(refusal('TaskConflict')));
  t.notOk(isTransient(refusal('QuotaExceeded')));
  t.notOk(isTransient(new PluginError('PROVIDER_AUTH', {})));
});
